"""What the service says about itself: one JSON line per event, counters for Prometheus."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, constant event name, fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of one record; extra attributes become fields."""
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "room": record.name.removeprefix("controller."),
            "event": record.getMessage(),
        }
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=True)


def configure_logging(level: str = "info") -> None:
    """Send every log line to stderr as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    logging.getLogger("alembic").setLevel(logging.WARNING)
    root.setLevel(level.upper() if level.upper() in logging.getLevelNamesMapping() else "INFO")


class Telemetry:
    """Counters and gauges of one process, written as Prometheus text. Never labelled by unit."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counters: dict[tuple[str, tuple[tuple[str, str], ...]], float] = defaultdict(float)
        self._gauges: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        """Raise the counter `controller_<name>_total`."""
        key = _counter_key(name, *labels.items())
        with self._lock:
            self._counters[key] += amount

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Set the gauge `controller_<name>`."""
        with self._lock:
            self._gauges[f"controller_{name}", tuple(sorted(labels.items()))] = value

    def exposition(self) -> str:
        """Prometheus text format 0.0.4."""
        with self._lock:
            counters, gauges = dict(self._counters), dict(self._gauges)
        return "".join([*_lines(counters, "counter"), *_lines(gauges, "gauge")])


@lru_cache(maxsize=4096)
def _counter_key(name: str, *labels: tuple[str, str]) -> tuple[str, tuple[tuple[str, str], ...]]:
    return f"controller_{name}_total", tuple(sorted(labels))


def _lines(
    values: Mapping[tuple[str, tuple[tuple[str, str], ...]], float], kind: str
) -> Iterator[str]:
    named = ""
    for (name, labels), value in sorted(values.items()):
        if name != named:
            yield f"# TYPE {name} {kind}\n"
            named = name
        inner = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
        yield f"{name}{{{inner}}} {value:.17g}\n" if inner else f"{name} {value:.17g}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
