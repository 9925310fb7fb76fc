"""Processes and ports of this machine, and waiting for what they do."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import URLError

from controller.errors import SetupFailed

PORTS = range(12_000, 32_000)
PATIENCE_SECONDS = 60.0
"""Long enough for a machine with five times as much to do as it has cores."""


def wait_until(
    condition: Callable[[], Any],
    what: str,
    seconds: float = PATIENCE_SECONDS,
    *,
    log: Path | None = None,
) -> Any:
    """The first true answer; nobody listening yet, or no longer, is no answer.

    Raises
    ------
    AssertionError
        If there is none within `seconds`; it names `what` and ends with the file `log`, if any.
    """
    until = time.monotonic() + seconds
    while True:
        with contextlib.suppress(
            URLError, HTTPException, ConnectionError, TimeoutError, SetupFailed
        ):
            if found := condition():
                return found
        if time.monotonic() > until:
            said = log.read_text(errors="replace")[-3000:] if log else ""
            raise AssertionError(f"{what}: not within {seconds:.0f} s\n{said}")
        time.sleep(0.05)


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Different loopback ports that nobody listens on now.

    They lie below the range from which systems take the ports of outgoing connections, so that
    none is taken by chance before the program that they are meant for has started.
    """
    found: list[int] = []
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        if len(found) == count:
            break
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
    return found


def descendants(pid: int, *, deep: bool = True) -> list[int]:
    """Every living process below `pid`."""
    below: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            below.append(child)
            if deep:
                below += descendants(child)
    return below


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
