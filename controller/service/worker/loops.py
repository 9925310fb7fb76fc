"""The worker: drains the inbox, matures units, takes looks, reconciles, sends the outbox.

One thread, one loop: on SQLite there is one writer anyway, and on PostgreSQL several workers share
the work by row locks and the reconciler's lease. Each round gives every step a bounded budget, so a
flood of events never delays a rollback by more than one budget.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType

from controller.errors import ControllerError
from controller.service.worker.health import Health, serve_health
from controller.telemetry import Telemetry

log = logging.getLogger(__name__)

IDLE_SECONDS = 0.1
FAILED_SECONDS = 1.0
LONGEST_FAILED_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Step:
    """One kind of work: does a bounded piece of it and says whether there was any.

    Where `hurries`, it is due again at once as long as it says so, and after `every_seconds` else.
    """

    name: str
    act: Callable[[], bool]
    every_seconds: float = 0.0
    hurries: bool = False


@dataclass(slots=True)
class WorkerRuntime:
    """What the loop needs: its steps in order, where it reports, and what it closes at the end."""

    steps: tuple[Step, ...]
    telemetry: Telemetry
    health_host: str
    health_port: int
    close: Callable[[], None]
    ready: Callable[[], str | None]


@dataclass(slots=True)
class _Schedule:
    """When a step is due again; a failing step waits longer and longer and holds nobody else up."""

    due: float = 0.0
    failures: int = field(default=0)


def run(runtime: WorkerRuntime) -> None:
    """Work until SIGTERM or Ctrl-C."""
    stop = threading.Event()
    _install_signals(stop)
    health = Health(ready=runtime.ready, telemetry=runtime.telemetry)
    with serve_health(health, runtime.health_host, runtime.health_port):
        schedules = {step.name: _Schedule() for step in runtime.steps}
        while not stop.is_set():
            busy = [
                _attend(step, schedules[step.name], runtime.telemetry) for step in runtime.steps
            ]
            health.beat()
            if not any(busy):
                stop.wait(IDLE_SECONDS)
    runtime.close()
    log.info("worker_stopped")


def holder_name() -> str:
    """A name for leases that no other process has, now or after a restart."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


def _attend(step: Step, schedule: _Schedule, telemetry: Telemetry) -> bool:
    started = time.monotonic()
    if started < schedule.due:
        return False
    try:
        busy = step.act()
    except ControllerError as problem:
        _failed(step, schedule, telemetry, problem)
        return False
    except Exception as problem:  # noqa: BLE001 - the loop's door: logged once, the step retried
        _failed(step, schedule, telemetry, problem, unexpected=True)
        return False
    schedule.failures = 0
    schedule.due = started if busy and step.hurries else started + step.every_seconds
    telemetry.count("worker_step_seconds", time.monotonic() - started, step=step.name)
    return busy


def _failed(
    step: Step,
    schedule: _Schedule,
    telemetry: Telemetry,
    problem: Exception,
    *,
    unexpected: bool = False,
) -> None:
    schedule.failures += 1
    pause = min(FAILED_SECONDS * 2 ** (schedule.failures - 1), LONGEST_FAILED_SECONDS)
    schedule.due = time.monotonic() + pause
    telemetry.count("worker_failures", step=step.name)
    log.error(
        "step_failed",
        extra={"step": step.name, "why": str(problem)[:500], "again_in": pause},
        exc_info=problem if unexpected else None,
    )


def _install_signals(stop: threading.Event) -> None:
    def ask(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, ask)
