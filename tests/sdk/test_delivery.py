"""Events survive strange values, a disk that is full for a moment, and a firewall that says no."""

from __future__ import annotations

import enum
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from controller.errors import InvalidInput, Unavailable
from controller.sdk.delivery import REFUSALS, Delivery
from controller.sdk.journal import Journal
from controller.sdk.store import Backlog
from controller.sdk.transport import Answer
from tests.processes import PATIENCE_SECONDS
from tests.sdk.service import wait_for

Refuse = Callable[[list[str]], "Answer | Exception | None"]


class Road:
    """What lies between a delivery and the service; `refuse` may answer in its place."""

    def __init__(self) -> None:
        self.units: list[str] = []
        self.batches: dict[str, int] = {}
        self.refused: list[float] = []
        self.refuse: Refuse = lambda _: None

    def __call__(self, body: bytes, _: Mapping[str, str]) -> Answer:
        batch = json.loads(body)
        units = [event["unit"] for event in batch["events"]]
        refusal = self.refuse(units)
        if refusal is not None:
            self.refused.append(time.monotonic())
            if isinstance(refusal, Exception):
                raise refusal
            return refusal
        self.batches[batch["batch_id"]] = self.batches.get(batch["batch_id"], 0) + 1
        if self.batches[batch["batch_id"]] == 1:
            self.units += units
        receipt = {"accepted": len(units), "rejected": []}
        return Answer(status=202, body=json.dumps(receipt).encode())


def down(_: list[str]) -> Unavailable:
    return Unavailable("down")


def event(unit: str, **more: Any) -> dict[str, Any]:
    fields = {"event_id": unit, "occurred_at": time.time(), "unit": unit, "name": "cost"}
    return {"type": "outcome", **fields, "value": 1.0, **more}


Start = Callable[..., Delivery]


@pytest.fixture
def road() -> Road:
    return Road()


@pytest.fixture
def journal() -> Journal:
    return Journal()


@pytest.fixture
def start(road: Road, journal: Journal) -> Iterator[Start]:
    with ExitStack() as stack:

        def started(spool: Path | None = None, **options: Any) -> Delivery:
            options.setdefault("interval_seconds", 0.02)
            options.setdefault("chance", lambda: 0.1)
            delivery = Delivery(road, journal, abort=lambda: None, spool=spool, **options)
            stack.callback(delivery.close, 0.2)
            return delivery

        yield started


class Untouchable:
    """Refuses to be compared or named, as a proxy outside of its request does."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("outside of a request")

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise RuntimeError("outside of a request")


class Plan(enum.IntEnum):
    FREE = 1


STRANGE = [
    pd.NA,
    pd.NaT,
    pd.Series([1, 2]),
    np.array([1, 2]),
    np.bool_(True),
    np.int64(0),
    np.int64(1),
    np.float64("inf"),
    Decimal(1),
    Untouchable(),
]


@pytest.mark.parametrize("value", STRANGE, ids=lambda value: type(value).__name__)
def test_a_strange_attribute_is_left_out_and_costs_nobody_anything(
    value: Any, start: Start, road: Road, journal: Journal
) -> None:
    delivery = start(interval_seconds=60.0)
    for number in range(40):
        delivery.put(event(f"u{number}"))
    delivery.put(event("last", attributes={"strange": value, "plain": "yes"}))
    assert delivery.flush(PATIENCE_SECONDS)
    assert len(road.units) == 41
    assert journal.counts() == {"events_delivered": 41}


def test_numbers_that_are_a_kind_of_float_or_int_travel_as_such() -> None:
    from controller.sdk.reports import complete

    wire = complete(
        event("u", attributes={"f": np.float64(1.5), "e": Plan.FREE, "s": np.str_("x")})
    )
    assert isinstance(wire, dict)
    assert wire["attributes"] == {"f": 1.5, "e": 1, "s": "x"}
    assert [type(value) for value in wire["attributes"].values()] == [float, int, str]


@pytest.mark.parametrize("unit", [pd.NA, np.array(["a", "b"]), Untouchable()])
def test_an_event_that_cannot_be_read_is_counted_and_alone_in_it(
    unit: Any, start: Start, road: Road, journal: Journal
) -> None:
    delivery = start(interval_seconds=60.0)
    delivery.put(event("before"))
    delivery.put({**event("x"), "unit": unit})
    delivery.put(event("after"))
    assert delivery.flush(PATIENCE_SECONDS)
    assert road.units == ["before", "after"]
    assert journal.counts() == {"events_delivered": 2, "events_invalid": 1}


def test_at_the_end_a_strange_value_leaves_the_others_on_disk(
    start: Start, road: Road, journal: Journal, tmp_path: Path
) -> None:
    road.refuse = down
    delivery = start(tmp_path, interval_seconds=60.0)
    delivery.put(event("first"))
    for number in range(300):
        delivery.put(event(f"u{number}"))
    delivery.put({**event("x"), "unit": pd.NA})
    delivery.put(event("last"))
    delivery.close(0.0)
    road.refuse = lambda _: None
    later = start(tmp_path)
    later.start()
    assert later.flush(PATIENCE_SECONDS)
    assert len(road.units) == 302
    assert journal.counts()["events_invalid"] == 1


@pytest.mark.parametrize("error", [InvalidInput("no such port"), RuntimeError("a defect")])
def test_a_batch_whose_sending_raises_anything_is_kept(
    error: Exception, start: Start, road: Road, journal: Journal
) -> None:
    failing = [error, error]
    road.refuse = lambda _: failing.pop() if failing else None
    delivery = start()
    delivery.put(event("u"))
    assert delivery.flush(PATIENCE_SECONDS)
    assert road.units == ["u"]
    assert journal.counts() == {"events_delivered": 1, "errors": 2}


# ---------------------------------------------------------------- the disk


def full(_: int) -> None:
    raise OSError(28, "No space left on device")


def test_a_disk_that_was_full_for_a_moment_strands_nothing(
    start: Start, road: Road, journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    road.refuse = down
    delivery = start(tmp_path)
    for number in range(5):
        delivery.put(event(f"a{number}"))
    assert wait_for(lambda: any(tmp_path.rglob("*.seg")))
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        delivery.put(event("b"))
        assert wait_for(lambda: journal.states().get("spool") == "memory_only")
    assert not delivery.flush(0.1), "five are on disk and one is in memory"
    road.refuse = lambda _: None
    assert delivery.flush(PATIENCE_SECONDS)
    assert sorted(road.units) == ["a0", "a1", "a2", "a3", "a4", "b"]
    assert not any(tmp_path.rglob("*.seg"))
    assert journal.counts() == {"events_delivered": 6}


def frames_of(backlog: Backlog) -> list[bytes]:
    found: list[bytes] = []
    while (waiting := backlog.oldest()) is not None:
        found += [frame.body for frame in waiting.frames]
        assert backlog.keep_rest(waiting, [])
    return found


def test_the_disk_is_tried_again_and_takes_what_memory_held(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from controller.sdk import store
    from controller.sdk.spool import Frame

    def lost(reason: str, events: int) -> None:
        journal.count(reason, events)

    monkeypatch.setattr(store, "RETRY_SECONDS", 0.05)
    backlog = Backlog(tmp_path / "spool", lost, journal)
    backlog.append(Frame(body=b"1", events=1))
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        backlog.append(Frame(body=b"2", events=1))
    assert journal.states()["spool"] == "memory_only"
    time.sleep(0.1)
    backlog.append(Frame(body=b"3", events=1))
    assert journal.states()["spool"] == "ok"
    backlog.close()
    again = Backlog(tmp_path / "spool", lost, journal)
    assert frames_of(again) == [b"1", b"2", b"3"]
    assert again.empty
    again.close()
    assert journal.counts() == {}, "nothing was lost, and a loss of nothing is none"


def test_at_the_end_memory_goes_to_a_disk_that_is_back(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from controller.sdk.spool import Frame

    backlog = Backlog(tmp_path, journal.count, journal)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        backlog.append(Frame(body=b"1", events=2))
    backlog.close()
    again = Backlog(tmp_path, journal.count, journal)
    assert frames_of(again) == [b"1"]
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        again.append(Frame(body=b"2", events=2))
        again.close()
    assert journal.counts() == {"memory_full": 2}


def test_a_state_directory_that_somebody_removed_is_made_again(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    from controller.sdk import store
    from controller.sdk.spool import Frame

    monkeypatch.setattr(store, "RETRY_SECONDS", 0.0)
    backlog = Backlog(tmp_path / "spool", journal.count, journal)
    shutil.rmtree(tmp_path / "spool")
    backlog.append(Frame(body=b"1", events=1))
    assert any(tmp_path.rglob("*.seg"))
    assert frames_of(backlog) == [b"1"]
    backlog.close()


# ---------------------------------------------------------------- a firewall


def blocked(units: list[str]) -> Answer | None:
    return Answer(status=403, body=b"blocked") if "<script>" in units else None


@pytest.mark.parametrize("on_disk", [True, False])
def test_a_batch_that_a_firewall_refuses_holds_up_no_other(
    on_disk: bool, start: Start, road: Road, journal: Journal, tmp_path: Path
) -> None:
    road.refuse = blocked
    delivery = start(tmp_path if on_disk else None)
    delivery.put(event("<script>"))
    assert wait_for(lambda: bool(road.refused))
    for number in range(60):
        delivery.put(event(f"good{number}"))
        time.sleep(0.01)
    assert wait_for(lambda: len(road.units) == 60)
    assert wait_for(lambda: journal.states().get("set_aside") == "waits")
    tries = len(road.refused)
    for number in range(30):
        delivery.put(event(f"more{number}"))
        time.sleep(0.01)
    assert wait_for(lambda: len(road.units) == 90)
    assert tries == len(road.refused) == REFUSALS + 1, "once when new, then from the backlog"
    assert not delivery.flush(0.3), "it is not given up"
    road.refuse = lambda _: None
    assert delivery.flush(PATIENCE_SECONDS)
    assert road.units[-1] == "<script>"
    assert journal.states()["set_aside"] == "ok"


@pytest.mark.parametrize("status", [401, 429, 500, 503])
def test_a_refusal_that_is_about_the_client_sets_nothing_aside(
    status: int, start: Start, road: Road, journal: Journal, tmp_path: Path
) -> None:
    road.refuse = lambda _: Answer(status=status)
    delivery = start(tmp_path, chance=lambda: 0.0)
    for unit in ("1", "2"):
        delivery.put(event(unit))
        assert wait_for(lambda: len(road.refused) > 2 * REFUSALS)
        road.refused.clear()
    road.refuse = lambda _: None
    assert delivery.flush(PATIENCE_SECONDS)
    assert "set_aside" not in journal.states()
    assert road.units == ["1", "2"]


def test_a_batch_set_aside_is_said_once(
    start: Start, road: Road, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from controller.sdk import delivery as module

    monkeypatch.setattr(module, "LONGEST_SECONDS", 0.05)
    road.refuse = blocked
    delivery = start(chance=lambda: 0.0)
    delivery.put(event("<script>"))
    assert wait_for(lambda: len(road.refused) > 5 * REFUSALS)
    assert [line.split()[1] for line in caplog.messages] == ["topic=delivery", "topic=set_aside"]
    delivery.put(event("good"))
    assert wait_for(lambda: road.units == ["good"])


def test_the_thread_outlives_all_of_it(start: Start, road: Road) -> None:
    delivery = start()
    road.refuse = lambda _: MemoryError()
    delivery.put(event("1"))
    assert wait_for(lambda: bool(road.refused))
    road.refuse = lambda _: None
    assert delivery.flush(PATIENCE_SECONDS)
    assert any(thread.name == "controller-delivery" for thread in threading.enumerate())
