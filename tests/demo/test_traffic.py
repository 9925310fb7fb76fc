"""Desks run in threads of their own and never fail in silence."""

from __future__ import annotations

import threading
import time

import pytest

from controller.demo.traffic import Traffic
from tests.processes import PATIENCE_SECONDS, wait_until


class Counter:
    def __init__(self, most: int) -> None:
        self.steps = 0
        self.most = most

    @property
    def finished(self) -> bool:
        return self.steps >= self.most

    def step(self) -> None:
        self.steps += 1


class Broken(Counter):
    def step(self) -> None:
        raise RuntimeError("the model is gone")


def _wait(condition: threading.Event, seconds: float = PATIENCE_SECONDS) -> None:
    assert condition.wait(seconds)


def test_desks_step_until_they_are_finished_and_then_deliver() -> None:
    delivered = threading.Event()
    desk = Counter(3)
    traffic = Traffic([desk], delivered.set)
    traffic.start()
    _wait(delivered)
    assert desk.steps == 3
    assert traffic.finished
    traffic.check()


def test_a_stopped_desk_stops() -> None:
    delivered = threading.Event()
    desk = Counter(1_000_000)
    traffic = Traffic([desk], delivered.set)
    traffic.start()
    wait_until(lambda: desk.steps, "it has begun")
    traffic.stop()
    steps = desk.steps
    time.sleep(0.3)
    assert desk.steps == steps > 0
    assert not traffic.finished
    _wait(delivered)


def test_what_ends_a_desk_is_raised_to_whoever_asks() -> None:
    delivered = threading.Event()
    traffic = Traffic([Broken(1)], delivered.set)
    traffic.start()
    _wait(delivered)
    with pytest.raises(RuntimeError, match="the model is gone"):
        traffic.check()
