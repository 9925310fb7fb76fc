"""Side documents, from new exceptions to the ruleset that names them, a little at a time.

Three steps, of which each turn does a bounded piece: new exceptions get their hash; blocks in whose
range hashes have come are written anew; the blocks in use are summed up to one sha256. One more
exception among a million costs one hash, one block and one pass of the sums.
"""

from __future__ import annotations

import zlib
from collections.abc import Generator, Sequence
from typing import Final, NamedTuple

from controller.assignment.hashing import keyed_hash
from controller.errors import LeaseLost
from controller.flow.live import Live, live_rollouts
from controller.flow.ports.side_documents import Block, NewBlock, Seal
from controller.flow.ports.work import Store, Work
from controller.flow.publish import publish
from controller.flow.side_text import (
    HASH_BYTES,
    Summing,
    block_text,
    deflated,
    head_text,
    key_of,
)

LEASE: Final = "side-documents"
LEASE_SECONDS: Final = 15.0
UNITS_A_SECOND: Final = 10_000
LEAST_SECONDS: Final = 1.0
NAMED_A_TURN: Final = 2_000
MOST_IN_BLOCK: Final = 8_192
GOOD_IN_BLOCK: Final = 6_144
BLOCKS_A_TURN: Final = 3
MOST_READ: Final = 2 * GOOD_IN_BLOCK
SUMMED_A_TURN: Final = 32

_Turns = Generator[None, None, None]


class _Sealed(NamedTuple):
    """A document that only has to be put in force, and the blocks it was summed up from."""

    live: Live
    sha256: str
    seal: Seal
    blocks: Sequence[Block]


class SidePublisher:
    """Publishes side documents that lack units; one ruleset a project for all that are due.

    A document waits until the one in force is a second old for every 10,000 units, so what SDKs
    download stays below 200 kB a second however many identities are merged. A unit that is not yet
    in it is answered by the pure function there.

    Parameters
    ----------
    holder : str
        Names this process: one at a time builds documents.
    """

    def __init__(self, store: Store, *, holder: str) -> None:
        self._store = store
        self._holder = holder
        self._turns: _Turns | None = None

    def step(self) -> bool:
        """Do a bounded piece of what is due; whether there was any.

        Raises
        ------
        Unavailable
            If the database does not answer; what was done so far is kept.
        """
        turns, self._turns = self._turns or self._round(), None
        try:
            next(turns)
        except (StopIteration, LeaseLost):
            return False
        self._turns = turns
        return True

    def _round(self) -> _Turns:
        due: dict[str, list[Live]] = {}
        for live in live_rollouts(self._store):
            with self._store.reading() as work:
                if _is_due(work, live):
                    due.setdefault(live.rollout.project, []).append(live)
        for project, mine in due.items():
            sealed: list[_Sealed] = []
            for live in mine:
                yield from self._name(live)
                yield from self._build(live)
                yield from self._seal(live, sealed)
            if self._publish(project, sealed):
                yield

    def _name(self, live: Live) -> _Turns:
        """Give every new exception its hash; those that come meanwhile wait for the next round."""
        rollout, left = live.rollout, NAMED_A_TURN
        key, unit_type = key_of(rollout.salt), rollout.frozen_plan.slot.unit
        while left == NAMED_A_TURN:
            with self._store.writing() as work:
                self._hold(work)
                units = work.side_documents.unnamed(*live.name, most=NAMED_A_TURN)
                hashes = {unit: bytes.fromhex(keyed_hash(key, unit_type, unit)) for unit in units}
                if hashes:
                    work.side_documents.name(*live.name, hashes, number=_next_number(work, live))
            left = len(units)
            yield

    def _build(self, live: Live) -> _Turns:
        """Write blocks anew that have to be."""
        busy = True
        while busy:
            with self._store.writing() as work:
                self._hold(work)
                stale = work.side_documents.stale(*live.name, most=BLOCKS_A_TURN)
                for low in stale:
                    _rebuild(work, live, low)
                busy = bool(stale)
            yield

    def _seal(self, live: Live, sealed: list[_Sealed]) -> _Turns:
        """Sum up the blocks in use."""
        head = head_text(live.rollout.salt)
        summing = Summing(head)
        with self._store.reading() as work:
            number = _next_number(work, live)
            blocks = work.side_documents.blocks(*live.name)
        for start in range(0, len(blocks), SUMMED_A_TURN):
            some = blocks[start : start + SUMMED_A_TURN]
            with self._store.writing() as work:
                self._hold(work)
                held = work.side_documents.hashes(*live.name, some)
            for block, hashes in zip(some, held, strict=True):
                summing.add(hashes, block.packed_bytes)
            yield
        name, packed_bytes = summing.finish()
        seal = Seal(live.rollout.id, number, summing.units, head, summing.crc, packed_bytes)
        sealed.append(_Sealed(live, name, seal, blocks))

    def _publish(self, project: str, sealed: Sequence[_Sealed]) -> bool:
        """Put documents in force; whether any says something new, so that a ruleset names it."""
        news = False
        with self._store.writing() as work:
            work.take_turn(project)
            self._hold(work)
            for one in sealed:
                present = work.side_documents.in_force(*one.live.name)
                if not _as_summed(work, one):
                    continue  # somebody had the lease meanwhile
                work.side_documents.add(project, one.sha256, one.seal)
                news |= present is None or present.sha256 != one.sha256
            if news:
                publish(work, project)
        return news

    def _hold(self, work: Work) -> None:
        if work.leases.take(LEASE, self._holder, now=work.now, seconds=LEASE_SECONDS) is None:
            raise LeaseLost("Another process builds side documents.")


def _is_due(work: Work, live: Live) -> bool:
    """Whether the document in force lacks something and has been in force long enough."""
    present = work.side_documents.in_force(*live.name)
    if present is not None:
        pause = max(LEAST_SECONDS, present.units / UNITS_A_SECOND)
        if 0 <= present.age_seconds < pause:  # below 0: the clock was set back, by who knows what
            return False
    return work.side_documents.changed(*live.name, 0 if present is None else present.number)


def _as_summed(work: Work, one: _Sealed) -> bool:
    blocks = work.side_documents.blocks(*one.live.name)
    return blocks == one.blocks and _next_number(work, one.live) == one.seal.number


def _next_number(work: Work, live: Live) -> int:
    present = work.side_documents.in_force(*live.name)
    return 1 if present is None else present.number + 1


def _rebuild(work: Work, live: Live, low: bytes) -> None:
    """Fill one block, or the two that its hashes need; what is left is a block for a later turn."""
    found = work.side_documents.wanted(*live.name, low, most=MOST_READ + 1)
    hashes, rest = found[: MOST_READ * HASH_BYTES], found[MOST_READ * HASH_BYTES :]
    units = len(hashes) // HASH_BYTES
    pieces = 1 if units <= MOST_IN_BLOCK else -(-units // GOOD_IN_BLOCK)
    size = max(1, -(-units // pieces)) * HASH_BYTES
    parts = [hashes[start : start + size] for start in range(0, len(hashes), size)] or [b""]
    blocks = [
        _new_block(low if place == 0 else part[:HASH_BYTES], part)
        for place, part in enumerate(parts)
    ]
    if rest:
        blocks.append(NewBlock(rest[:HASH_BYTES], b"", b"", 0, stale=True))
    work.side_documents.replace(*live.name, low, blocks, number=_next_number(work, live))


def _new_block(low: bytes, hashes: bytes) -> NewBlock:
    text = block_text(hashes)
    return NewBlock(low, hashes, deflated(text) if text else b"", zlib.crc32(text))
