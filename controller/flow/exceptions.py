"""Exceptions of the pure function, from SQL to pins and to the side documents of SDKs (DESIGN 6).

SQL holds, for each rollout, the units that are answered as another id of their identity or in spite
of a lost eligibility. The worker writes a pin for each into the pin store, for the live allocation,
and puts it back where the store lost it. SDKs learn the units' hashes from a side document that the
signed ruleset names by its sha256; new exceptions are gathered so that a thousand merges a second
publish one ruleset.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Final, NamedTuple

from controller.assignment.choice import Pin
from controller.assignment.hashing import BUCKETS, PPM, bucket, hash_unit, keyed_hash
from controller.assignment.runs import living
from controller.experiments.canonical import canonical_json
from controller.experiments.policies import Sticky
from controller.flow.pinning import pin_seconds
from controller.flow.ports.identities import Because, ToPin
from controller.flow.ports.work import Store, Work
from controller.flow.ports_pins import PinKey, Pins
from controller.flow.publish import publish
from controller.flow.service_counts import REBUILT, count_excepted, excepted_units
from controller.rollout.record import Allocation, Rollout

NOBODY: Final = "-"
"""The arm of a pin whose unit stands for one in a retired bucket: champion, not analysed."""

UNITS_A_SECOND: Final = 10_000
LEAST_SECONDS: Final = 1.0


def pin_exceptions(store: Store, pins: Pins, *, most: int = 1000) -> bool:
    """Write the pins of exceptions that have none in their live allocation; whether more wait.

    Raises
    ------
    Unavailable
        If a store does not answer; what was not written is written later.
    """
    left = most
    for live in _live(store):
        name = (live.rollout.project, live.rollout.id, live.allocation.number)
        with store.reading() as work:
            rows = work.exceptions.unpinned(*name, most=left)
        if not rows:
            continue
        _impose(pins, live, rows)
        with store.writing() as work:
            work.exceptions.mark_pinned(*name, rows)
        left -= len(rows)
        if left <= 0:
            return True
    return False


class Rebuilder:
    """Goes round all exceptions of live rollouts and writes back the pins that were lost.

    A few at a time while all is well; as fast as it can from the first lost one on, until it has
    been round.
    """

    def __init__(self, store: Store, pins: Pins) -> None:
        self._store = store
        self._pins = pins
        self._place = ("", "", "")  # project, rollout, unit
        self._hurrying = False

    def step(self, *, most: int = 500) -> bool:
        """Look at the next exceptions; whether any since the last round's end had lost its pin.

        Raises
        ------
        Unavailable
            If a store does not answer.
        """
        if not self._pins.counts().available:
            return False
        for live in _live(self._store):
            name = (live.rollout.project, live.rollout.id)
            if name < self._place[:2]:
                continue
            unit = self._place[2] if name == self._place[:2] else ""
            with self._store.reading() as work:
                rows = work.exceptions.after(*name, unit, most=most)
            if rows:
                self._place = (*name, rows[-1].unit)
                self._hurrying |= self._put_back(live, rows) > 0
                return self._hurrying
        self._place, self._hurrying = ("", "", ""), False
        return False

    def _put_back(self, live: _Live, rows: Sequence[ToPin]) -> int:
        rollout, allocation = live.rollout, live.allocation
        rows = [row for row in rows if row.pinned == allocation.number]  # the others were not lost
        keys = [_key(rollout, row.unit) for row in rows]
        found = self._pins.read(keys, rollout.id, allocation.number)
        lost = [
            row
            for row, pin in zip(rows, found, strict=True)
            if pin != pin_of(rollout, allocation, row.stands_for)
        ]
        if lost:
            _impose(self._pins, live, lost)
            with self._store.writing() as work:
                work.tallies.add(rollout.project, {(rollout.id, REBUILT): len(lost)})
        return len(lost)


def publish_exceptions(store: Store) -> bool:
    """Publish side documents that lack units, in one ruleset a project; whether there was any.

    A document waits until the one in force is a second old for every 10,000 units, so what SDKs
    download stays below 200 kB a second however many identities are merged. A unit that is not yet
    in it is answered by the pure function there.

    Raises
    ------
    Unavailable
        If the database does not answer.
    """
    due: dict[str, list[_Document]] = {}
    for live in _live(store):
        with store.reading() as work:
            document = _due_document(work, live.rollout)
        if document is not None:
            due.setdefault(live.rollout.project, []).append(document)
    for project, mine in due.items():
        with store.writing() as work:
            work.take_turn(project)
            for one in mine:
                present = work.exceptions.document(project, one.rollout.id)
                if present is not None and present.number >= one.number:
                    continue  # another worker was faster
                work.exceptions.add_document(
                    project,
                    one.rollout.id,
                    sha256=sha256(one.body).hexdigest(),
                    number=one.number,
                    units=one.units,
                    body=one.body,
                )
            publish(work, project)
    return bool(due)


def keep_arms(work: Work, rollout: Rollout, series: Sequence[int]) -> int:
    """Let every analysed unit of these series keep its arm, eligible or not; how many are new.

    For an edit of a rollout's eligibility: units that met an arm under the earlier condition are
    answered by it (I3). Call it in the edit's transaction.
    """
    kept = work.exceptions.except_met(rollout.project, rollout.id, series)
    count_excepted(work, rollout.project, rollout.id, {Because.ELIGIBILITY.value: kept})
    return kept


def pin_of(rollout: Rollout, allocation: Allocation, stands_for: str) -> Pin:
    """The pin of a unit that is answered as another: its arm and its place in the enrolment."""
    plan = rollout.frozen_plan
    hi, lo = hash_unit(rollout.salt, plan.slot.unit, stands_for, algo=plan.slot.hash.algo)
    runs = living(allocation.runs, allocation.retired)
    arm = runs[bisect_right([end for end, _ in runs], bucket(lo, BUCKETS))][1]
    return Pin(allocation=allocation.number, arm=arm or NOBODY, bucket=bucket(hi, PPM))


def side_document(rollout: Rollout, units: Sequence[str]) -> bytes:
    """The bytes that SDKs fetch: a key, and the hashes of these units under it, in order."""
    key = f"exceptions.{rollout.salt}"
    unit_type = rollout.frozen_plan.slot.unit
    hashes = sorted(keyed_hash(key, unit_type, unit) for unit in units)
    return canonical_json({"schema": 1, "key": key, "units": hashes})


class _Live(NamedTuple):
    rollout: Rollout
    allocation: Allocation
    now: datetime


def _live(store: Store) -> list[_Live]:
    """Rollouts that split traffic and remember arms, with their allocation, in order of name."""
    with store.reading() as work:
        if not work.exceptions.some():
            return []
        found = [
            _Live(rollout, allocation, work.now)
            for rollout in work.rollouts.live()
            if rollout.allocation and rollout.frozen_plan.policy.sticky is not Sticky.NONE
            for allocation in work.rollouts.allocations(rollout.project, rollout.id)
            if allocation.number == rollout.allocation
        ]
    return sorted(found, key=lambda one: (one.rollout.project, one.rollout.id))


def _impose(pins: Pins, live: _Live, rows: Sequence[ToPin]) -> None:
    rollout = live.rollout
    wanted = [
        (_key(rollout, row.unit), pin_of(rollout, live.allocation, row.stands_for)) for row in rows
    ]
    ends_at = None if rollout.deadline_at is None else int(rollout.deadline_at.timestamp())
    ttl = pin_seconds(ends_at, now=live.now.timestamp())
    pins.impose(wanted, rollout.id, ttl_seconds=ttl)


def _key(rollout: Rollout, unit: str) -> PinKey:
    unit_type = rollout.frozen_plan.slot.unit
    return PinKey(project=rollout.project, unit_type=unit_type, unit=unit)


class _Document(NamedTuple):
    """A side document that is due."""

    rollout: Rollout
    number: int
    units: int
    body: bytes


def _due_document(work: Work, rollout: Rollout) -> _Document | None:
    """What the side document in force lacks, if anything, and if it has been in force enough."""
    wanted = excepted_units(work, rollout.project, rollout.id)
    if not wanted:
        return None
    present = work.exceptions.document(rollout.project, rollout.id)
    if present is not None:
        pause = max(LEAST_SECONDS, present.units / UNITS_A_SECOND)
        if present.units == wanted or present.age_seconds < pause:
            return None
    units = work.exceptions.units(rollout.project, rollout.id)
    body = side_document(rollout, units)
    if present is not None and present.sha256 == sha256(body).hexdigest():
        return None  # a unit that two transactions excepted at once was counted twice
    number = 1 if present is None else present.number + 1
    return _Document(rollout, number, len(units), body)
