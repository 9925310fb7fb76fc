"""The published ruleset's copy in Redis, and the note that says there is a newer one.

SQL holds the truth. The copy lets web processes and streams start and follow without asking SQL;
it is set only if newer, so a late writer cannot bring an old ruleset back. The note is pub/sub and
may be lost: whoever listens also polls.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from controller.errors import Unavailable
from controller.storage.redis.connection import NO_ANSWER, Client

if TYPE_CHECKING:
    from redis.asyncio.client import PubSub

    from controller.storage.redis.connection import AsyncClient

MOST_VERSION: Final = 2**53 - 1
"""Above what any clock will give, and the last whole number that every reader of JSON keeps."""
_DIGESTS: Final = re.compile(b"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesetCopy:
    """A ruleset's bytes with the version and sha256 they were published under."""

    version: int
    etag: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """There is a ruleset of this version."""

    project: str
    version: int
    etag: str


def channel(namespace: str, project: str) -> str:
    """The pub/sub channel of one project's notes."""
    return f"ruleset-note:{namespace}:{project}"


def decode_note(channel_name: bytes, data: object) -> Note | None:
    """A received message as a note; None for anything else."""
    head = _head(*data.partition(b" ")[::2]) if isinstance(data, bytes) else None
    if head is None:
        return None
    version, etag = head
    project = channel_name.decode("utf-8", "replace").split(":", 2)[-1]
    return Note(project=project, version=version, etag=etag)


class RedisNotes:
    """Publishes, reads and follows rulesets through one client.

    Parameters
    ----------
    namespace : str
        The deployment's own (`Settings.redis_namespace`).
    """

    def __init__(self, client: Client, *, namespace: str) -> None:
        self._client = client
        self._namespace = namespace

    def publish(self, project: str, copy: RulesetCopy) -> bool:
        """Store the copy if it is newer and send its note; whether it was newer.

        What stands there and is no copy of ours is written over.

        The note of the version that is already there is sent again: whoever stored it may have died
        before its note was out. An older version sends none.

        Raises
        ------
        Unavailable
            If the store does not answer or refuses; SQL still carries the change.
        """
        key = self._key(project)

        def set_if_newer(transaction: Any) -> int:
            head = _head(*transaction.hmget(key, ["version", "etag"]))
            have = head[0] if head else 0
            if have < copy.version:
                transaction.multi()
                fields = {"version": copy.version, "etag": copy.etag, "body": copy.body}
                transaction.hset(key, mapping=fields)
            return have

        try:
            # WATCH, read, MULTI: no script, so the store's account needs no right to run any.
            transaction: Any = self._client.transaction
            had = int(transaction(set_if_newer, key, value_from_callable=True))
            if had <= copy.version:
                told = channel(self._namespace, project)
                self._client.publish(told, f"{copy.version} {copy.etag}")
            return had < copy.version
        except NO_ANSWER as error:
            raise Unavailable(f"The ruleset's copy was not stored: {error}.") from error

    def current(self, project: str) -> RulesetCopy | None:
        """The stored copy, or None.

        Raises
        ------
        Unavailable
            If the store does not answer.
        """
        try:
            stored = self._client.hgetall(self._key(project))
        except NO_ANSWER as error:
            raise Unavailable(f"The ruleset's copy cannot be read: {error}.") from error
        fields = cast("dict[bytes, bytes]", stored)
        head = _head(fields.get(b"version"), fields.get(b"etag"))
        body = fields.get(b"body")
        if head is None or body is None:
            return None
        version, etag = head
        return RulesetCopy(version=version, etag=etag, body=body)

    def head(self, project: str) -> tuple[int, str] | None:
        """Version and sha256 of the stored copy, or None.

        Raises
        ------
        Unavailable
            If the store does not answer.
        """
        try:
            found = self._client.hmget(self._key(project), ["version", "etag"])
        except NO_ANSWER as error:
            raise Unavailable(f"The ruleset's copy cannot be read: {error}.") from error
        return _head(*cast("list[bytes | None]", found))

    def follow(self, project: str, *, wait_seconds: float = 1.0) -> Iterator[Note | None]:
        """Notes as they come; None whenever `wait_seconds` pass without one.

        Raises
        ------
        Unavailable
            When the subscription is lost; start again, and poll meanwhile.
        """
        subscription = self._client.pubsub(  # type: ignore[no-untyped-call]
            ignore_subscribe_messages=True
        )
        try:
            subscription.subscribe(channel(self._namespace, project))
            while True:
                message = subscription.get_message(timeout=wait_seconds)
                yield message and decode_note(message["channel"], message["data"])
        except NO_ANSWER as error:
            raise Unavailable(f"Notes stopped coming: {error}.") from error
        finally:
            subscription.close()

    def _key(self, project: str) -> str:
        return f"ruleset-copy:{self._namespace}:{{{project}}}"


def _head(version: bytes | None, etag: bytes | None) -> tuple[int, str] | None:
    """Version and sha256 as they are stored; None where somebody else has written there."""
    if version is None or etag is None or _DIGESTS.fullmatch(etag) is None:
        return None
    if not version.isdigit() or len(version) > len(str(MOST_VERSION)):
        return None
    number = int(version)
    return (number, etag.decode("ascii")) if 0 < number <= MOST_VERSION else None


async def follow_all(
    client: AsyncClient, *, namespace: str, wait_seconds: float = 1.0
) -> AsyncIterator[Note | None]:
    """Every project's notes, for the stream process; None whenever `wait_seconds` pass without one.

    Raises
    ------
    Unavailable
        When the subscription is lost; start again.
    """
    try:
        subscription = await _subscription(client)
        try:
            await subscription.psubscribe(channel(namespace, "*"))
            while True:
                message = await subscription.get_message(timeout=wait_seconds)
                yield message and decode_note(message["channel"], message["data"])
        finally:
            await subscription.aclose()  # type: ignore[no-untyped-call]
    except NO_ANSWER as error:
        raise Unavailable(f"Notes stopped coming: {error}.") from error


async def _subscription(client: AsyncClient) -> PubSub:
    """Every node of a cluster passes every note on: any will do, and the next time another."""
    from redis.asyncio import Redis as AsyncRedis

    if isinstance(client, AsyncRedis):
        return client.pubsub(ignore_subscribe_messages=True)
    await client.initialize()
    return client.pubsub(node=client.get_random_node(), ignore_subscribe_messages=True)
