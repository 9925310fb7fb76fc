"""The ruleset's copy and its notes, in a real Valkey and a real Redis 7."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from controller.assignment.signature import format_key, split_key, stored_hash
from controller.errors import Unavailable
from controller.flow.actors import Scope
from controller.flow.ports.people import Key
from controller.storage.redis.connection import connect, connect_async
from controller.storage.redis.keys import RedisKeys, project_of_key
from controller.storage.redis.notes import (
    Note,
    RedisNotes,
    RulesetCopy,
    channel,
    decode_note,
    follow_all,
)
from tests.loops import run_apart
from tests.processes import free_port
from tests.storage.valkey import PROGRAMS, Valkey, cluster_of_three

KEY, OTHER = (format_key(f"key{number}", "an-obviously-fake-secret-" * 2) for number in (1, 2))


def copy(version: int) -> RulesetCopy:
    return RulesetCopy(version=version, etag=f"{version:064x}", body=b'{"version":%d}' % version)


@pytest.fixture(scope="module", params=PROGRAMS)
def valkey(request: pytest.FixtureRequest) -> Iterator[Valkey]:
    with Valkey(program=request.param) as server:
        yield server


@pytest.fixture
def notes(valkey: Valkey) -> Iterator[RedisNotes]:
    valkey.ask("FLUSHALL")
    with connect(valkey.url, answer_seconds=5) as client:
        yield RedisNotes(client, namespace="n")


def test_only_a_newer_ruleset_replaces_the_copy(notes: RedisNotes) -> None:
    assert notes.current("default") is None
    assert notes.publish("default", copy(1_700_000_000_000))
    assert not notes.publish("default", copy(999))
    assert not notes.publish("default", copy(1_700_000_000_000))
    assert notes.current("default") == copy(1_700_000_000_000)
    assert notes.publish("default", copy(1_700_000_000_001))
    assert notes.current("other") is None


def test_racing_publishers_leave_the_newest(notes: RedisNotes) -> None:
    threads = [
        threading.Thread(target=notes.publish, args=("default", copy(version)))
        for version in (3, 1, 9, 4, 7, 2, 8, 6, 5) * 3
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert notes.current("default") == copy(9)


def test_a_follower_hears_of_each_newer_ruleset(notes: RedisNotes) -> None:
    following = notes.follow("default", wait_seconds=0.5)
    assert next(following) is None
    notes.publish("default", copy(5))
    notes.publish("default", copy(4))
    notes.publish("other", copy(9))
    heard = [note for note in (next(following), next(following), next(following)) if note]
    assert heard == [Note(project="default", version=5, etag=copy(5).etag)]
    following.close()  # type: ignore[attr-defined]


def test_the_note_of_a_stored_version_is_repeated_for_whoever_died_before_sending_it(
    notes: RedisNotes,
) -> None:
    following = notes.follow("default", wait_seconds=0.5)
    assert next(following) is None
    for _ in range(2):
        notes.publish("default", copy(5))
    heard = [next(following), next(following)]
    assert heard == [Note(project="default", version=5, etag=copy(5).etag)] * 2
    following.close()  # type: ignore[attr-defined]


def test_the_stream_process_hears_of_every_project(valkey: Valkey, notes: RedisNotes) -> None:
    async def listen() -> list[Note]:
        heard: list[Note] = []
        async with connect_async(valkey.url) as client:
            following = follow_all(client, namespace="n", wait_seconds=0.5)
            assert await anext(following) is None
            for project in ("default", "other"):
                await asyncio.to_thread(notes.publish, project, copy(7))
            while len(heard) < 2:
                note = await anext(following)
                assert note is not None
                heard.append(note)
            await following.aclose()  # type: ignore[attr-defined]
        return heard

    assert {note.project for note in run_apart(listen())} == {"default", "other"}


@pytest.fixture(scope="module", params=PROGRAMS)
def cluster(request: pytest.FixtureRequest) -> Iterator[str]:
    with cluster_of_three(request.param) as url:
        yield url


def test_notes_reach_the_stream_process_through_any_node_of_a_cluster(cluster: str) -> None:
    async def listen(notes: RedisNotes) -> set[tuple[str, int]]:
        heard: set[tuple[str, int]] = set()
        async with connect_async(cluster) as client:
            for version in range(1, 7):  # each subscription takes a node by chance
                following = follow_all(client, namespace="n", wait_seconds=0.05)
                note = await anext(following)
                while note is None or note.version < version:
                    await asyncio.to_thread(notes.publish, "default", copy(version))
                    note = await anext(following)
                heard.add((note.project, note.version))
                await following.aclose()  # type: ignore[attr-defined]
        return heard

    with connect(cluster, connect_seconds=5, answer_seconds=5) as client:
        assert run_apart(listen(RedisNotes(client, namespace="n"))) == {
            ("default", version) for version in range(1, 7)
        }


def test_a_cluster_that_is_gone_is_said() -> None:
    async def listen() -> None:
        client = connect_async(f"redis+cluster://127.0.0.1:{free_port()}")
        with pytest.raises(Unavailable):
            await anext(follow_all(client, namespace="n"))
        with pytest.raises(Unavailable):
            await project_of_key(client, KEY, namespace="n")
        await client.aclose()

    run_apart(listen())


def test_the_stream_process_finds_checked_keys_in_a_cluster(cluster: str) -> None:
    key_id, half, _ = split_key(KEY)
    key = Key(
        project="default",
        key_id=key_id,
        name="app",
        auth_hash=stored_hash(half),
        signing_key="",
        scopes=frozenset({Scope.RULESET}),
        created_by="root",
        created_at=datetime.now(UTC),
    )

    async def known() -> list[str | None]:
        async with connect_async(cluster) as client:
            return [await project_of_key(client, one, namespace="n") for one in (KEY, OTHER)]

    with connect(cluster, connect_seconds=5, answer_seconds=5) as client:
        RedisKeys(client, namespace="n").remember(key)
        assert run_apart(known()) == ["default", None]
        RedisKeys(client, namespace="n").forget(key_id)
        assert run_apart(known()) == [None, None]


def test_a_store_that_is_gone_is_said(valkey: Valkey) -> None:
    with connect("unix:///nowhere/at/all") as client:
        notes = RedisNotes(client, namespace="n")
        with pytest.raises(Unavailable):
            notes.publish("default", copy(1))
        with pytest.raises(Unavailable):
            notes.current("default")
        with pytest.raises(Unavailable):
            next(notes.follow("default"))


DIGEST = b"a" * 64


@pytest.mark.parametrize(
    "data",
    [
        *(None, 1, b"", b"x y", b"-1 x", b"\xff", b"5 x", b"5 " + DIGEST + b"\n"),
        *(number + b" " + DIGEST for number in (b"", b"0", b"\xb2", b"+5", b"9" * 5_000)),
        b"%d " % 2**53 + DIGEST,
    ],
)
def test_what_is_no_note_is_ignored(data: object) -> None:
    assert decode_note(channel("n", "default").encode(), data) is None


def test_a_channel_that_is_no_text_stops_nobody() -> None:
    note = decode_note(b"ruleset-note:n:\xff", b"5 " + DIGEST)
    assert note is not None
    assert (note.version, note.project) == (5, "\ufffd")


def test_half_a_copy_is_no_copy(valkey: Valkey, notes: RedisNotes) -> None:
    notes.publish("default", copy(5))
    valkey.ask("HDEL", "ruleset-copy:n:{default}", "body")
    assert notes.current("default") is None
