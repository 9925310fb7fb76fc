"""Side documents as they are kept: blocks of hashes, and what seals them to one document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol


class SideDocument(NamedTuple):
    """The side document in force of one rollout; `number` counts them from 1."""

    sha256: str
    number: int
    units: int
    age_seconds: float


class Block(NamedTuple):
    """A block without its contents: hashes from `low` to the next block's.

    `since` is the first document that holds it, `crc` the CRC-32 of its text.
    """

    low: bytes
    since: int
    units: int
    crc: int
    packed_bytes: int


class NewBlock(NamedTuple):
    """A block to be stored; a stale one has to be filled later."""

    low: bytes
    hashes: bytes
    packed: bytes
    crc: int
    stale: bool = False


class Seal(NamedTuple):
    """What a document is beside its blocks: see `flow.side_text`."""

    rollout: str
    number: int
    units: int
    head: str
    crc: int
    packed_bytes: int


class SideDocuments(Protocol):
    """Everything of side documents, as one transaction sees it."""

    def in_force(self, project: str, rollout: str) -> SideDocument | None:
        """The side document in force."""
        ...

    def changed(self, project: str, rollout: str, number: int) -> bool:
        """Whether exceptions have come or gone since document `number` was sealed."""
        ...

    def unnamed(self, project: str, rollout: str, *, most: int) -> Sequence[str]:
        """Excepted units whose hash is not known yet."""
        ...

    def name(self, project: str, rollout: str, hashes: Mapping[str, bytes], *, number: int) -> None:
        """Store hashes of units, and mark the blocks in whose range they lie as stale.

        The first block of all is made for document `number`.
        """
        ...

    def stale(self, project: str, rollout: str, *, most: int) -> Sequence[bytes]:
        """Where stale blocks begin, in order."""
        ...

    def wanted(self, project: str, rollout: str, low: bytes, *, most: int) -> bytes:
        """Hashes that belong into the block at `low` now, in order."""
        ...

    def replace(
        self, project: str, rollout: str, low: bytes, blocks: Sequence[NewBlock], *, number: int
    ) -> None:
        """Put these blocks in the place of the one at `low`, from document `number` on.

        One block with the hashes that stand there already only stops being stale.
        """
        ...

    def blocks(self, project: str, rollout: str) -> Sequence[Block]:
        """The blocks in use, in order."""
        ...

    def hashes(self, project: str, rollout: str, blocks: Sequence[Block]) -> Sequence[bytes]:
        """The contents of these blocks, in their order."""
        ...

    def add(self, project: str, sha256: str, seal: Seal) -> None:
        """Put a document in force; what nobody can still need of those before is dropped."""
        ...

    def find(self, project: str, sha256: str) -> Seal | bytes | None:
        """A document by its name; its bytes where it is kept as a whole."""
        ...

    def part(
        self, project: str, document: Seal, after: bytes | None, *, packed: bool, most: int
    ) -> Sequence[tuple[bytes, bytes]]:
        """The document's next blocks: where each begins, and its hashes, or its deflated text."""
        ...
