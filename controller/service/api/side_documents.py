"""Side documents on their way to SDKs: block by block, none held as a whole.

What every SDK asks for at once is read once: the newest parts stay in memory, 16 MB of them at the
most, however long the documents are.
"""

from __future__ import annotations

import errno
import logging
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from msgspec import Struct

from controller.errors import NotFound, Unavailable
from controller.flow.ports.side_documents import Seal
from controller.flow.ports.work import Store
from controller.flow.side_text import packed, plain, text_bytes
from controller.service.http.calls import Answer, Call

log = logging.getLogger(__name__)

MOST_KEPT_BYTES: Final = 16 * 2**20
BLOCKS_A_READ: Final = 8
_NAME: Final = re.compile("[0-9a-f]{64}")


class SideDocument(Struct):
    """Units by `keyed_hash` under `key`, 16 hex digits each, in order."""

    schema: int
    key: str
    units: list[str]


class _PartName(NamedTuple):
    """Some blocks of a document: those after one, or its first.

    The whole seal names the document: its number alone comes twice where the database is restored.
    """

    project: str
    document: Seal
    after: bytes | None
    packed: bool


_Part = Sequence[tuple[bytes, bytes]]


class SideDocuments:
    """Answers requests for side documents of every project."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._parts: OrderedDict[_PartName, _Part] = OrderedDict()
        self._kept_bytes = 0

    def answer(self, call: Call, name: str) -> Answer:
        """The document of this sha256: 304 where the caller has it, gzip where they read it.

        Raises
        ------
        NotFound
            If there is none, or it has been out of force for minutes.
        """
        found = self._find(call.project, name)
        headers = {
            "ETag": f'"{name}"',
            "Vary": "Accept-Encoding, Authorization",
            "Cache-Control": "private, max-age=31536000, immutable",
        }
        if call.request.if_none_match.contains_weak(name):
            return Answer(status=304, headers=headers)
        if isinstance(found, bytes):  # from before there were blocks
            return Answer(body=found, headers=headers)
        if call.request.accept_encodings["gzip"] > 0:
            length = found.packed_bytes
            parts = self._blocks(call.project, found, packed=True)
            body = packed(found.head, parts, crc=found.crc, units=found.units)
            headers["Content-Encoding"] = "gzip"
        else:
            length = text_bytes(found.head, found.units)
            body = plain(found.head, self._blocks(call.project, found, packed=False))
        return Answer(body=_whole(body, length), headers={**headers, "Content-Length": str(length)})

    @property
    def kept_bytes(self) -> int:
        """What the parts in memory take."""
        return self._kept_bytes

    def _find(self, project: str, name: str) -> Seal | bytes:
        if _NAME.fullmatch(name) is None:  # nothing the database would have to look for, or refuse
            raise _no_such()
        with self._store.reading() as work:
            found = work.side_documents.find(project, name)
        if found is None:
            raise _no_such()
        return found

    def _blocks(self, project: str, document: Seal, *, packed: bool) -> Iterator[bytes]:
        after: bytes | None = None
        while part := self._part(project, document, after, packed=packed):
            for _, content in part:
                yield content
            after = part[-1][0]

    def _part(self, project: str, document: Seal, after: bytes | None, *, packed: bool) -> _Part:
        name = _PartName(project, document, after, packed)
        with self._lock:  # one of many who ask at once reads it
            found = self._parts.get(name)
            if found is not None:
                self._parts.move_to_end(name)
                return found
            with self._store.reading() as work:
                part = work.side_documents.part(
                    project, document, after, packed=packed, most=BLOCKS_A_READ
                )
            if part:
                self._keep(name, part)
            return part

    def _keep(self, name: _PartName, part: _Part) -> None:
        self._parts[name] = part
        self._kept_bytes += _bytes_of(part)
        while self._kept_bytes > MOST_KEPT_BYTES:
            _, oldest = self._parts.popitem(last=False)
            self._kept_bytes -= _bytes_of(oldest)


def _bytes_of(part: _Part) -> int:
    return sum(len(content) for _, content in part)


def _whole(body: Iterator[bytes], length: int) -> Iterator[bytes]:
    """The body. Where the database goes away, or the document has just gone, it is cut short.

    Raises
    ------
    BrokenPipeError
        Once it is cut: the connection must end, or the reader would wait for the rest, and take
        the next answer for it.
    """
    sent, why = 0, "The document was dropped."
    try:
        for part in body:
            sent += len(part)
            yield part
    except Unavailable as problem:
        why = problem.message
    if sent < length:
        log.warning("side_document_cut", extra={"why": why})
        raise BrokenPipeError(errno.EPIPE, "the side document was cut short")


def _no_such() -> NotFound:
    return NotFound("There is no such side document: read the ruleset again.")
