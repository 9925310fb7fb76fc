"""Keys that web has checked lately, so that the stream can let their holders in without SQL.

Only the hash of a key's authentication half stands here, and only for a quarter of an hour after
web last saw the key; a revocation removes it at once. It may be lost at any time: the way to the
stream through web's redirect needs none of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from controller.assignment.signature import same_key, split_key
from controller.errors import InvalidInput, Unavailable
from controller.flow.ports.people import Key
from controller.storage.redis.connection import NO_ANSWER, Client

if TYPE_CHECKING:
    from controller.storage.redis.connection import AsyncClient

LIFE_SECONDS: Final = 900
AGAIN_SECONDS: Final = 60.0


class RedisKeys:
    """Remembers checked keys through one client; a broken store costs nothing but the memory."""

    def __init__(
        self, client: Client, *, namespace: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._clock = clock
        self._told: dict[str, float] = {}

    def remember(self, key: Key) -> None:
        """Web has just checked this key; told to the store once a minute."""
        now = self._clock()
        if now - self._told.get(key.key_id, -AGAIN_SECONDS) < AGAIN_SECONDS:
            return
        self._told[key.key_id] = now
        try:
            value = f"{key.project} {key.auth_hash}"
            self._client.set(_name(self._namespace, key.key_id), value, ex=LIFE_SECONDS)
        except NO_ANSWER:
            return

    def forget(self, key_id: str) -> None:
        """This key has ended."""
        self._told.pop(key_id, None)
        try:
            self._client.delete(_name(self._namespace, key_id))
        except NO_ANSWER:
            return


async def project_of_key(client: AsyncClient, key: str, *, namespace: str) -> str | None:
    """The project of a key that web has checked lately, for the stream process; None otherwise.

    Raises
    ------
    Unavailable
        If the store does not answer.
    """
    try:
        key_id, half, _ = split_key(key)
        known = await client.get(_name(namespace, key_id))
    except InvalidInput:
        return None
    except NO_ANSWER as error:
        raise Unavailable("The store of checked keys does not answer.") from error
    if not isinstance(known, bytes):
        return None
    project, _, stored = known.decode().partition(" ")
    return project if same_key(half, stored) else None


def _name(namespace: str, key_id: str) -> str:
    return f"stream-key:{namespace}:{key_id}"
