"""Keeps a handful of child processes running: starts, restarts with back-off, stops cleanly.

A child dies with its parent (on Linux the kernel sees to it), so kill -9 of the supervisor leaves
no orphan; a child that dies is started again after a pause that doubles while it keeps dying.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import IO

from controller.storage.redis.embedded import EmbeddedValkey, die_with_parent

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
STEADY_SECONDS = 20.0
STOP_SECONDS = 20.0
"""More than a web process gives its requests (10 s), with room for what it does afterwards."""


class StopAsked(Exception):
    """SIGTERM or Ctrl-C came before everything was running."""


@dataclass(slots=True)
class Child:
    """One process to keep running."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    output: IO[bytes] | None = None
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    pause: float = FIRST_PAUSE
    restart_at: float = 0.0
    restarts: int = 0

    def start(self) -> None:
        """Start it in a session of its own, so that Ctrl-C reaches the supervisor alone."""
        self.process = subprocess.Popen(  # noqa: S603 - our own command
            list(self.command),
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=self.output,
            preexec_fn=die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
            start_new_session=True,
        )
        self.started = time.monotonic()
        self.restart_at = 0.0
        log.info("child_started", extra={"child": self.name, "pid": self.process.pid})

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self.process is not None and self.process.poll() is None


@dataclass(slots=True)
class Supervisor:
    """Runs children, and optionally an embedded Valkey, until told to stop."""

    children: Sequence[Child] = ()
    valkey: EmbeddedValkey | None = None
    on_tick: Callable[[], None] | None = None
    _stopping: bool = field(default=False)

    def start(self) -> None:
        """Start every child; Valkey must have been started before."""
        for child in self.children:
            child.start()

    def install_signals(self) -> None:
        """SIGTERM and Ctrl-C ask for a clean stop; called first, so that none is missed."""
        signal.signal(signal.SIGTERM, self._ask_to_stop)
        signal.signal(signal.SIGINT, self._ask_to_stop)

    def run(self) -> None:
        """Watch until asked to stop; whoever started everything stops it, in the right order."""
        while not self._stopping:
            self.tick()
            time.sleep(0.2)

    def go_on(self) -> None:
        """Say between two steps of a start whether to take the next.

        Raises
        ------
        StopAsked
            If a stop was asked for.
        """
        if self._stopping:
            raise StopAsked

    def tick(self) -> None:
        """Start again what has died and whose pause is over."""
        self._watch_valkey()
        for child in self.children:
            if not child.running:
                self._restart(child)
            elif time.monotonic() - child.started > STEADY_SECONDS:
                child.pause = FIRST_PAUSE
        if self.on_tick is not None:
            self.on_tick()

    def request_stop(self) -> None:
        """Leave `run` at the next tick."""
        self._stopping = True

    def stop(self) -> None:
        """Ask every child to end, wait, and end those that do not; Valkey last."""
        for child in self.children:
            if child.running and child.process is not None:
                child.process.send_signal(signal.SIGTERM)
        until = time.monotonic() + STOP_SECONDS
        for child in self.children:
            if child.process is not None:
                _wait_or_kill(child, until)
        if self.valkey is not None:
            self.valkey.stop()

    def _watch_valkey(self) -> None:
        if self.valkey is not None and self.valkey.pid is None:
            log.warning("valkey_restarted")
            self.valkey.start()

    def _restart(self, child: Child) -> None:
        now = time.monotonic()
        if not child.restart_at:
            code = None if child.process is None else child.process.returncode
            log.error(
                "child_died", extra={"child": child.name, "code": code, "again_in": child.pause}
            )
            child.restart_at = now + child.pause
            child.pause = min(child.pause * 2, LONGEST_PAUSE)
        elif now >= child.restart_at:
            child.restarts += 1
            child.start()

    def _ask_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        if not self._stopping:
            self._stopping = True
            row_ends = "\n" if os.isatty(2) else ""
            with suppress(OSError):  # not through sys.stderr, which may be amid a write just now
                os.write(2, f"{row_ends}stopping…\n".encode())


def python_child(name: str, *arguments: str, environment: Mapping[str, str]) -> Child:
    """A child that runs one of our own commands with this interpreter."""
    return Child(
        name=name,
        command=[sys.executable, "-m", "controller", *arguments],
        environment={**os.environ, **environment},
    )


def _wait_or_kill(child: Child, until: float) -> None:
    if child.process is None:
        return
    try:
        child.process.wait(max(0.1, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        log.warning("child_killed", extra={"child": child.name})
        child.process.kill()
        child.process.wait()
