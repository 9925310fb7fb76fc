"""Side documents are sent block by block: bounded in memory, cut where the database goes away."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from hashlib import sha256
from io import BytesIO
from typing import Any

import pytest
from gunicorn.config import Config  # type: ignore[import-untyped]
from gunicorn.http.wsgi import Response  # type: ignore[import-untyped]
from sqlalchemy import text
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from controller.errors import Unavailable
from controller.flow.actors import Actor
from controller.service.api import side_documents
from controller.service.api.side_documents import SideDocuments
from controller.service.http.calls import Answer, Call, Caller
from controller.service.http.door import send
from controller.service.web.answers import Sending
from controller.service.web.plain import Limits, read_plain
from controller.service.web.worker import GONE
from controller.storage.sql.base import Base, InboxBase
from controller.storage.sql.database import Database
from controller.storage.sql.schema import all_tables  # noqa: F401 - fills the metadata
from controller.storage.sql.unit_of_work import SqlStore
from tests.merging import SPEND, except_units, publish_exceptions, published
from tests.traffic import World

MANY = 30_000
LIMITS = Limits(line=8190, field=8190, fields=100)
CALLER = Caller(actor=Actor(name="k", kind="key", method="key"), project="default")


class Failing(SqlStore):
    """A store whose database goes away after some reads."""

    reads = 10**6

    @contextmanager
    def reading(self) -> Iterator[Any]:
        """One snapshot, while there are any."""
        self.reads -= 1
        if self.reads < 0:
            raise Unavailable("The database does not answer.")
        with super().reading() as work:
            yield work


@pytest.fixture(scope="module")
def store() -> Failing:
    made = empty_store()
    publish_many(made, "unit")
    return made


@pytest.fixture
def name(store: Failing) -> str:
    rules = published(store).slots["slot"].rollout
    assert rules is not None
    assert rules.exceptions is not None
    return rules.exceptions


def ask(documents: SideDocuments, name: str, encoding: str) -> Answer:
    environ = EnvironBuilder(headers=[("Accept-Encoding", encoding)]).get_environ()
    return documents.answer(Call(request=Request(environ), caller=CALLER, path={}), name)


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_whatever_is_kept_stays_within_its_bound(
    store: Failing, name: str, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side_documents, "MOST_KEPT_BYTES", 100_000)
    monkeypatch.setattr(side_documents, "BLOCKS_A_READ", 1)
    documents = SideDocuments(store)
    for _ in range(2):
        answer = ask(documents, name, encoding)
        parts = []
        for part in _parts(answer):
            parts.append(part)
            assert documents.kept_bytes <= 100_000
        body = b"".join(parts)
        assert max(map(len, parts)) < 200_000 < len(body) == int(answer.headers["Content-Length"])
        whole = gzip.decompress(body) if encoding == "gzip" else body
        assert sha256(whole).hexdigest() == name
    assert documents.kept_bytes > 0


def test_what_was_just_sent_is_sent_again_without_the_database(store: Failing, name: str) -> None:
    documents = SideDocuments(store)
    first = b"".join(_parts(ask(documents, name, "gzip")))
    store.reads = 2  # the document's name, and the end of its blocks
    try:
        assert b"".join(_parts(ask(documents, name, "gzip"))) == first
    finally:
        store.reads = 10**6


def test_a_database_that_goes_away_amid_cuts_the_answer_short_and_ends_the_connection(
    store: Failing, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side_documents, "BLOCKS_A_READ", 1)
    answer = ask(SideDocuments(store), name, "gzip")
    store.reads = 2
    try:
        body, kept = sent(answer)
    finally:
        store.reads = 10**6
    assert 0 < len(body) < int(answer.headers["Content-Length"])
    assert not kept, "the reader would take the next answer for the rest"


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_a_document_that_is_dropped_while_it_is_read_is_cut_short(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last blocks are missing: the end that follows must not make it look whole."""
    monkeypatch.setattr(side_documents, "BLOCKS_A_READ", 1)
    made = empty_store()
    answer = ask(SideDocuments(made), publish_many(made, "unit"), encoding)
    parts = _parts(answer)
    begun = [next(parts), next(parts)]
    with made.writing() as work:
        work.connection.execute(text("delete from side_blocks"))
    with pytest.raises(BrokenPipeError) as cut:
        begun.extend(parts)
    assert cut.value.errno in GONE, "the server takes it for a reader that has left"
    assert len(b"".join(begun)) < int(answer.headers["Content-Length"])


def test_parts_of_a_history_that_a_restore_undid_are_not_sent() -> None:
    """Documents are counted from 1 again: the second one's number was the lost one's."""
    made = empty_store()
    documents = SideDocuments(made)
    lost = b"".join(_parts(ask(documents, publish_many(made, "lost"), "gzip")))
    with made.writing() as work:
        for table in ("exceptions", "side_blocks", "side_seals", "side_documents"):
            work.connection.execute(text(f"delete from {table}"))
    name = publish_many(made, "kept")
    body = b"".join(_parts(ask(documents, name, "gzip")))
    assert body != lost
    assert sha256(gzip.decompress(body)).hexdigest() == name


def empty_store() -> Failing:
    """A store with a rollout that nobody is excepted from."""
    database = Database("sqlite://")
    Base.metadata.create_all(database.main)
    InboxBase.metadata.create_all(database.inbox)
    return Failing(World(database, [SPEND]).database)


def publish_many(store: SqlStore, prefix: str) -> str:
    """The name of a document of several blocks."""
    except_units(store, [f"{prefix}-{number}" for number in range(MANY)])
    assert publish_exceptions(store)
    rules = published(store).slots["slot"].rollout
    assert rules is not None
    assert rules.exceptions is not None
    return rules.exceptions


def sent(answer: Answer) -> tuple[bytes, bool]:
    """What our server writes of an answer, and whether it keeps the connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        request = read_plain(head, len(head) - 4, {"wsgi.input": BytesIO()}, LIMITS)
        assert request is not None
        make = partial(Response, request, ours, Config())
        sending = Sending(request, ours, make, closes=False)
        kept = False
        with suppress(BrokenPipeError):
            kept = sending.send(lambda environ, start: send(answer, environ, start))
        ours.shutdown(socket.SHUT_WR)
        written = b"".join(iter(lambda: theirs.recv(65536), b""))
    return written.partition(b"\r\n\r\n")[2], kept


def _parts(answer: Answer) -> Iterator[bytes]:
    assert not isinstance(answer.body, bytes)
    yield from answer.body
