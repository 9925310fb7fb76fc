"""Side documents in blocks of hashes: an exception more rewrites the one block that it falls in."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Connection, Table, delete, func, insert, or_, select, update

from controller.flow.ports.side_documents import Block, NewBlock, Seal, SideDocument
from controller.flow.side_text import HASH_BYTES
from controller.storage.sql import bulk
from controller.storage.sql.database import database_now
from controller.storage.sql.exceptions import lock_in_order
from controller.storage.sql.identities import EXCEPTIONS
from controller.storage.sql.schema.identities import SideBlockRow, SideDocumentRow, SideSealRow

KEPT: Final = timedelta(seconds=120)
"""A side document that is out of force is served for so long: an SDK may be about to fetch it."""
BLOCKS: Final[Table] = SideBlockRow.__table__  # type: ignore[assignment]
_B = BLOCKS.c
_C = EXCEPTIONS.c
_FIRST: Final = bytes(HASH_BYTES)


class SqlSideDocuments:
    """Implements `flow.ports.side_documents.SideDocuments` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def in_force(self, project: str, rollout: str) -> SideDocument | None:
        """The side document in force."""
        row = self._connection.execute(
            select(
                SideDocumentRow.sha256,
                SideDocumentRow.number,
                SideDocumentRow.units,
                SideDocumentRow.created_at,
            )
            .where(SideDocumentRow.project == project, SideDocumentRow.rollout == rollout)
            .order_by(SideDocumentRow.number.desc())
            .limit(1)
        ).one_or_none()
        if row is None:
            return None
        age = database_now(self._connection) - row.created_at
        return SideDocument(row.sha256, row.number, row.units, age.total_seconds())

    def changed(self, project: str, rollout: str, number: int) -> bool:
        """Whether exceptions have come or gone since document `number` was sealed."""
        if self.unnamed(project, rollout, most=1):
            return True
        found = select(_B.low).where(*_in_use(project, rollout), or_(_B.stale, _B.since > number))
        return self._connection.scalar(found.limit(1)) is not None

    def unnamed(self, project: str, rollout: str, *, most: int) -> Sequence[str]:
        """Excepted units whose hash is not known yet."""
        return self._connection.scalars(
            select(_C.unit).where(*_excepted(project, rollout), _C.hash.is_(None)).limit(most)
        ).all()

    def name(self, project: str, rollout: str, hashes: Mapping[str, bytes], *, number: int) -> None:
        """Store hashes of units, and mark the blocks in whose range they lie as stale."""
        lock_in_order(self._connection, project, rollout, hashes)
        bulk.update(
            self._connection,
            EXCEPTIONS,
            (_C.project, _C.rollout, _C.unit),
            (_C.hash,),
            [(project, rollout, unit, hashes[unit]) for unit in sorted(hashes)],
        )
        lows = self._lows(project, rollout)
        if not lows:
            self._insert(project, rollout, [NewBlock(_FIRST, b"", b"", 0, stale=True)], number)
            return
        touched = {lows[bisect_right(lows, name) - 1] for name in hashes.values()}
        self._connection.execute(
            update(BLOCKS)
            .where(*_in_use(project, rollout), _B.low.in_(sorted(touched)))
            .values(stale=True)
        )

    def stale(self, project: str, rollout: str, *, most: int) -> Sequence[bytes]:
        """Where stale blocks begin, in order."""
        found = select(_B.low).where(*_in_use(project, rollout), _B.stale)
        return self._connection.scalars(found.order_by(_B.low).limit(most)).all()

    def wanted(self, project: str, rollout: str, low: bytes, *, most: int) -> bytes:
        """Hashes that belong into the block at `low` now, in order."""
        end = self._connection.scalar(
            select(func.min(_B.low)).where(*_in_use(project, rollout), _B.low > low)
        )
        inside = [*_excepted(project, rollout), _C.hash >= low]
        if end is not None:
            inside.append(_C.hash < end)
        found = select(_C.hash).distinct().where(*inside).order_by(_C.hash).limit(most)
        return b"".join(self._connection.scalars(found))

    def replace(
        self, project: str, rollout: str, low: bytes, blocks: Sequence[NewBlock], *, number: int
    ) -> None:
        """Put these blocks in the place of the one at `low`, from document `number` on."""
        here = (*_in_use(project, rollout), _B.low == low)
        since, held = self._connection.execute(select(_B.since, _B.hashes).where(*here)).one()
        if [block.hashes for block in blocks] == [held]:
            self._connection.execute(update(BLOCKS).where(*here).values(stale=False))
            return
        if since >= number:  # no document has it yet
            self._connection.execute(delete(BLOCKS).where(*here))
        else:
            self._connection.execute(update(BLOCKS).where(*here).values(until=number, stale=False))
        self._insert(project, rollout, blocks, number)

    def blocks(self, project: str, rollout: str) -> Sequence[Block]:
        """The blocks in use, in order."""
        rows = self._connection.execute(
            select(_B.low, _B.since, _B.units, _B.crc, _B.packed_bytes)
            .where(*_in_use(project, rollout))
            .order_by(_B.low)
        )
        return [Block(*row) for row in rows]

    def hashes(self, project: str, rollout: str, blocks: Sequence[Block]) -> Sequence[bytes]:
        """The contents of these blocks, in their order."""
        rows = self._connection.execute(
            select(_B.low, _B.hashes).where(
                *_in_use(project, rollout), _B.low.in_([block.low for block in blocks])
            )
        )
        held = {low: hashes for low, hashes in rows}  # noqa: C416 - rows are not pairs to mypy
        return [held.get(block.low, b"") for block in blocks]

    def add(self, project: str, sha256: str, seal: Seal) -> None:
        """Put a document in force; what nobody can still need of those before is dropped."""
        now = database_now(self._connection)
        self._drop_old(project, seal, before=now - KEPT)
        for row in (
            SideSealRow,
            SideDocumentRow,
        ):  # the same text again: an exception came and went
            self._connection.execute(
                delete(row).where(row.project == project, row.sha256 == sha256)
            )
        self._connection.execute(
            insert(SideDocumentRow).values(
                project=project,
                sha256=sha256,
                rollout=seal.rollout,
                number=seal.number,
                units=seal.units,
                body=b"",
                created_at=now,
            )
        )
        self._connection.execute(
            insert(SideSealRow).values(
                project=project,
                sha256=sha256,
                crc=seal.crc,
                packed_bytes=seal.packed_bytes,
                head=seal.head,
            )
        )

    def find(self, project: str, sha256: str) -> Seal | bytes | None:
        """A document by its name; its bytes where it is kept as a whole."""
        table = SideDocumentRow
        named = (table.project == project, table.sha256 == sha256)
        row = self._connection.execute(
            select(
                table.rollout,
                table.number,
                table.units,
                SideSealRow.head,
                SideSealRow.crc,
                SideSealRow.packed_bytes,
            )
            .outerjoin(
                SideSealRow,
                (SideSealRow.project == table.project) & (SideSealRow.sha256 == table.sha256),
            )
            .where(*named)
        ).one_or_none()
        if row is None or row.head is not None:
            return None if row is None else Seal(*row)
        return self._connection.scalar(select(table.body).where(*named))

    def part(
        self, project: str, document: Seal, after: bytes | None, *, packed: bool, most: int
    ) -> Sequence[tuple[bytes, bytes]]:
        """The document's next blocks: where each begins, and its hashes, or its deflated text."""
        number = document.number
        wanted = (
            select(_B.low, _B.packed if packed else _B.hashes)
            .where(_B.project == project, _B.rollout == document.rollout)
            .where(_B.since <= number, or_(_B.until.is_(None), _B.until > number))
        )
        if after is not None:
            wanted = wanted.where(_B.low > after)
        rows = self._connection.execute(wanted.order_by(_B.low).limit(most))
        return [(low, content) for low, content in rows]

    def _lows(self, project: str, rollout: str) -> Sequence[bytes]:
        found = select(_B.low).where(*_in_use(project, rollout)).order_by(_B.low)
        return self._connection.scalars(found).all()

    def _insert(self, project: str, rollout: str, blocks: Sequence[NewBlock], number: int) -> None:
        self._connection.execute(
            insert(BLOCKS),
            [
                {
                    "project": project,
                    "rollout": rollout,
                    "low": block.low,
                    "since": number,
                    "until": None,
                    "stale": block.stale,
                    "units": len(block.hashes) // HASH_BYTES,
                    "crc": block.crc,
                    "packed_bytes": len(block.packed),
                    "hashes": block.hashes,
                    "packed": block.packed,
                }
                for block in blocks
            ],
        )

    def _drop_old(self, project: str, seal: Seal, *, before: Any) -> None:
        table = SideDocumentRow
        mine = (table.project == project, table.rollout == seal.rollout)
        followed = self._connection.scalar(
            select(func.max(table.number)).where(*mine, table.created_at < before)
        )
        if followed is None:
            return
        # Those before it have been out of force for as long as it has been there.
        gone = self._connection.scalars(
            select(table.sha256).where(*mine, table.number < followed)
        ).all()
        if not gone:
            return
        for row in (SideSealRow, SideDocumentRow):
            self._connection.execute(
                delete(row).where(row.project == project, row.sha256.in_(gone))
            )
        oldest = self._connection.scalar(select(func.min(table.number)).where(*mine))
        self._connection.execute(
            delete(BLOCKS).where(
                _B.project == project,
                _B.rollout == seal.rollout,
                _B.until <= (seal.number if oldest is None else oldest),
            )
        )


def _in_use(project: str, rollout: str) -> tuple[Any, ...]:
    return (_B.project == project, _B.rollout == rollout, _B.until.is_(None))


def _excepted(project: str, rollout: str) -> tuple[Any, ...]:
    return (_C.project == project, _C.rollout == rollout)
