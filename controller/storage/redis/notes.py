"""The published ruleset's copy in Redis, and the note that says there is a newer one.

SQL holds the truth. The copy lets web processes and streams start and follow without asking SQL;
it is set only if newer, so a late writer cannot bring an old ruleset back. The note is pub/sub and
may be lost: whoever listens also polls.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from redis.exceptions import RedisError

from controller.errors import Unavailable
from controller.storage.redis.connection import Client

if TYPE_CHECKING:
    from redis.asyncio import Redis as AsyncRedis


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


def channel(project: str) -> str:
    """The pub/sub channel of one project's notes."""
    return f"ruleset-note:{project}"


def decode_note(channel_name: bytes, data: object) -> Note | None:
    """A received message as a note; None for anything else."""
    if not isinstance(data, bytes):
        return None
    version, _, etag = data.decode("ascii", "replace").partition(" ")
    project = channel_name.decode().partition(":")[2]
    return Note(project=project, version=int(version), etag=etag) if version.isdigit() else None


class RedisNotes:
    """Publishes, reads and follows rulesets through one client."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def publish(self, project: str, copy: RulesetCopy) -> bool:
        """Store the copy if it is newer and send its note; whether it was newer.

        The note of the version that is already there is sent again: whoever stored it may have died
        before its note was out. An older version sends none.

        Raises
        ------
        Unavailable
            If the store does not answer or refuses; SQL still carries the change.
        """

        def set_if_newer(transaction: Any) -> int:
            have = int(transaction.hget(_key(project), "version") or 0)
            if have < copy.version:
                transaction.multi()
                fields = {"version": copy.version, "etag": copy.etag, "body": copy.body}
                transaction.hset(_key(project), mapping=fields)
            return have

        try:
            # WATCH, read, MULTI: no script, so the store's account needs no right to run any.
            transaction: Any = self._client.transaction
            had = int(transaction(set_if_newer, _key(project), value_from_callable=True))
            if had <= copy.version:
                self._client.publish(channel(project), f"{copy.version} {copy.etag}")
            return had < copy.version
        except (RedisError, OSError) as error:
            raise Unavailable(f"The ruleset's copy was not stored: {error}.") from error

    def current(self, project: str) -> RulesetCopy | None:
        """The stored copy, or None.

        Raises
        ------
        Unavailable
            If the store does not answer.
        """
        try:
            stored = self._client.hgetall(_key(project))
        except (RedisError, OSError) as error:
            raise Unavailable(f"The ruleset's copy cannot be read: {error}.") from error
        fields = cast("dict[bytes, bytes]", stored)
        if not {b"version", b"etag", b"body"} <= fields.keys():
            return None
        return RulesetCopy(
            version=int(fields[b"version"]),
            etag=fields[b"etag"].decode(),
            body=fields[b"body"],
        )

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
            subscription.subscribe(channel(project))
            while True:
                message = subscription.get_message(timeout=wait_seconds)
                yield message and decode_note(message["channel"], message["data"])
        except (RedisError, OSError) as error:
            raise Unavailable(f"Notes stopped coming: {error}.") from error
        finally:
            subscription.close()


async def follow_all(
    client: AsyncRedis, *, wait_seconds: float = 1.0
) -> AsyncIterator[Note | None]:
    """Every project's notes, for the stream process; None whenever `wait_seconds` pass without one.

    Raises
    ------
    Unavailable
        When the subscription is lost; start again.
    """
    subscription = client.pubsub(ignore_subscribe_messages=True)
    try:
        await subscription.psubscribe(channel("*"))
        while True:
            message = await subscription.get_message(timeout=wait_seconds)
            yield message and decode_note(message["channel"], message["data"])
    except (RedisError, OSError) as error:
        raise Unavailable(f"Notes stopped coming: {error}.") from error
    finally:
        await subscription.aclose()  # type: ignore[no-untyped-call]


def _key(project: str) -> str:
    return f"ruleset-copy:{{{project}}}"
