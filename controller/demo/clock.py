"""Real time stands in for recorded time: one linear map, fixed when the demo first starts.

No process has a false clock. A recorded instant is due when its share of the recorded span has
really passed; events carry the real time at which they happen and the recorded date beside it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from controller.errors import SetupFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedTime:
    """Maps a recorded span onto real seconds.

    Attributes
    ----------
    started_at : float
        Unix seconds at which the span began.
    begins, ends : float
        The recorded span, in its own unit.
    lasts_seconds : float
        Real seconds that the whole span takes.
    now : callable
        The real clock, Unix seconds.
    """

    started_at: float
    begins: float
    ends: float
    lasts_seconds: float
    now: Callable[[], float] = time.time

    def reached(self) -> float:
        """The recorded instant that is now, possibly past the end."""
        passed = (self.now() - self.started_at) / self.lasts_seconds
        return self.begins + passed * (self.ends - self.begins)


def started_at(path: Path, *, now: Callable[[], float] = time.time) -> float:
    """When the demo of this data directory first started; kept there, so that a restart goes on.

    Raises
    ------
    SetupFailed
        If the file is there and cannot be read as what it was written.
    """
    if not path.exists():
        path.write_text(json.dumps({"started_at": now()}) + "\n", encoding="utf-8")
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["started_at"])
    except (ValueError, KeyError, TypeError) as problem:
        raise SetupFailed(
            f"{path} does not hold the start of a demo: use another --data-dir."
        ) from problem
