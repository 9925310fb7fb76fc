"""Exposures of remotely evaluated units: written in groups, one commit for all who wait.

A request that exposes a unit hands its event over and waits for the commit that carries it: many
requests share one. Where the database is slow or down the wait ends, the event stays in memory, the
writer tries again, and the answer says `queued` instead of `durable`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec

from controller.assignment.choice import Choice
from controller.errors import ControllerError, Unavailable
from controller.events.attributes import fitting
from controller.events.contracts import Exposure
from controller.events.encoding import document
from controller.events.ids import EventIds
from controller.flow.batches import MOST_EVENTS
from controller.flow.ports.ingest import Inbox
from controller.flow.record import accept
from controller.telemetry import Telemetry

log = logging.getLogger(__name__)

Durability = Literal["durable", "queued", "none"]

WAIT_SECONDS: Final = 0.5
RETRY_SECONDS: Final = 0.25
MOST_WAITING: Final = 50_000
REMEMBER: Final = 200_000
REPEAT_SECONDS: Final = 3600.0

_Seen = tuple[str, str, str | None, int | None, str]


@dataclass(slots=True, eq=False)
class _Waiting:
    project: str
    key_id: str
    events: list[dict[str, Any]]
    seen: list[_Seen]
    refused: bool = False
    written: threading.Event = field(default_factory=threading.Event)


class ExposureLog:
    """Turns choices that were met into exposure events in the inbox. Make it after a fork.

    Parameters
    ----------
    clock, elapsed : callable
        Unix seconds for the events; seconds that no adjustment of the clock moves, for repeats.
    telemetry : Telemetry or None
        Where exposures that were lost, and attributes that events could not carry, are counted.
    """

    def __init__(
        self,
        inbox: Inbox,
        *,
        clock: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = time.monotonic,
        telemetry: Telemetry | None = None,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self._inbox = inbox
        self._clock = clock
        self._elapsed = elapsed
        self._telemetry = telemetry or Telemetry()
        self._wait = wait_seconds
        self._ids = EventIds(clock)
        self._lock = threading.Lock()
        self._has_work = threading.Condition(self._lock)
        self._waiting: deque[_Waiting] = deque()
        self._events_waiting = 0
        self._recent: OrderedDict[_Seen, float] = OrderedDict()
        self._writer: threading.Thread | None = None
        self._closed = False
        self._failing = False
        self.dropped = 0

    def expose(
        self,
        project: str,
        key_id: str,
        met: Sequence[tuple[Choice, str]],
        attributes: Sequence[dict[str, Any] | None],
    ) -> Durability:
        """Log that these units met these answers; those logged within the hour are not repeated.

        Returns
        -------
        str
            `durable` once every one is in the inbox, `queued` where that takes too long, `none`
            where nothing is to be logged, the queue is full or the inbox refuses one of them (then
            it was counted as dropped).
        """
        now, occurred_at = self._elapsed(), self._clock()
        events: list[dict[str, Any]] = []
        fresh: list[_Seen] = []
        exposed = False
        for (choice, unit), given in zip(met, attributes, strict=True):
            if not choice.exposed:
                continue
            exposed = True
            seen = (project, choice.slot, choice.rollout, choice.allocation, unit)
            if now - self._recent.get(seen, -REPEAT_SECONDS) >= REPEAT_SECONDS:
                events.append(self._event(choice, unit, given, occurred_at))
                fresh.append(seen)
        if not events:
            return "durable" if exposed else "none"
        entry = _Waiting(project, key_id, events, fresh)
        if not self._enqueue(entry):
            return "none"
        # While the database is away nobody waits for it: assignment goes on at its own pace.
        if not entry.written.wait(0 if self._failing else self._wait):
            return "queued"
        return "none" if entry.refused else "durable"

    def close(self) -> None:
        """Write what waits, if the database answers, and stop."""
        with self._lock:
            self._closed = True
            self._has_work.notify_all()
            writer = self._writer
        if writer is not None:
            writer.join(timeout=5.0)

    def _event(
        self, choice: Choice, unit: str, attributes: dict[str, Any] | None, now: float
    ) -> dict[str, Any]:
        carried = fitting(attributes) if attributes else {}
        if attributes and len(carried) < len(attributes):
            self._telemetry.count("exposure_attributes_left_out", len(attributes) - len(carried))
        return document(
            Exposure(
                event_id=self._ids(),
                occurred_at=datetime.fromtimestamp(now, UTC),
                slot=choice.slot,
                unit=unit,
                rollout=choice.rollout,
                allocation=choice.allocation,
                arm=choice.arm,
                ruleset=choice.ruleset,
                reason=choice.reason.value,
                attributes=carried or None,
            )
        )

    def _enqueue(self, entry: _Waiting) -> bool:
        with self._lock:
            if self._closed or self._events_waiting + len(entry.events) > MOST_WAITING:
                self._drop(len(entry.events))
                return False
            self._waiting.append(entry)
            self._events_waiting += len(entry.events)
            if self._writer is None:
                self._writer = threading.Thread(
                    target=self._write_all, name="exposures", daemon=True
                )
                self._writer.start()
            self._has_work.notify()
        return True

    # ------------------------------------------------------------ the writer

    def _write_all(self) -> None:
        while True:
            with self._lock:
                while not self._waiting and not self._closed:
                    self._has_work.wait()
                if not self._waiting:
                    return
                group = self._take_group()
            while not self._write(group):
                if self._closed:
                    self._give_up(group)
                    return
                time.sleep(RETRY_SECONDS)

    def _take_group(self) -> list[_Waiting]:
        """The longest run of one project and key that fits into one batch."""
        first = self._waiting.popleft()
        group, events = [first], len(first.events)
        while self._waiting:
            following = self._waiting[0]
            same = (following.project, following.key_id) == (first.project, first.key_id)
            if not same or events + len(following.events) > MOST_EVENTS:
                break
            group.append(self._waiting.popleft())
            events += len(following.events)
        self._events_waiting -= events
        return group

    def _write(self, group: list[_Waiting]) -> bool:
        events = [event for entry in group for event in entry.events]
        batch_id = f"exposed:{events[0]['event_id']}"
        body = msgspec.json.encode({"batch_id": batch_id, "events": events})
        received_at = datetime.fromtimestamp(self._clock(), UTC)
        try:
            receipt = accept(
                self._inbox, group[0].project, group[0].key_id, batch_id, body, received_at
            )
        except Unavailable:
            self._failing = True
            return False
        except ControllerError:
            log.exception("exposures_refused", extra={"events": len(events)})
            refused: Collection[int] = range(len(events))
        else:
            refused = {item["index"] for item in receipt.rejected}
            if refused:
                log.error("exposures_rejected", extra={"first": receipt.rejected[0]})
        self._settle(group, refused)
        return True

    def _settle(self, group: list[_Waiting], refused: Collection[int]) -> None:
        """Remember what is on disk, and tell those who wait; `refused` are places in the batch."""
        now, place = self._elapsed(), 0
        self._failing = False
        with self._lock:
            self._drop(len(refused))
            for entry in group:
                for seen in entry.seen:
                    if place in refused:
                        entry.refused = True
                    else:
                        self._recent[seen] = now
                        self._recent.move_to_end(seen)
                    place += 1
            while len(self._recent) > REMEMBER:
                self._recent.popitem(last=False)
        for entry in group:
            entry.written.set()

    def _give_up(self, group: list[_Waiting]) -> None:
        with self._lock:
            left = [*group, *self._waiting]
            self._waiting.clear()
            self._drop(sum(len(entry.events) for entry in left))
        log.error("exposures_lost_at_stop", extra={"events": self.dropped})

    def _drop(self, events: int) -> None:
        self.dropped += events
        if events:
            self._telemetry.count("exposures_dropped", events)
