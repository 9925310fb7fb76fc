"""Clients of Redis or Valkey that give up quickly and never retry on their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from redis import Redis, RedisCluster
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError
from redis.retry import Retry

if TYPE_CHECKING:
    from redis.asyncio import Redis as AsyncRedis
    from redis.asyncio import RedisCluster as AsyncRedisCluster

    AsyncClient = AsyncRedis | AsyncRedisCluster

CONNECT_SECONDS: Final = 0.020
ANSWER_SECONDS: Final = 0.025
PATIENT_CONNECT_SECONDS: Final = 2.0
PATIENT_ANSWER_SECONDS: Final = 5.0
CLUSTER_SCHEME: Final = "redis+cluster://"

Client = Redis | RedisCluster

NO_ANSWER: Final = (RedisError, RedisClusterException, OSError)
"""What a client raises where a store does not answer or refuses: a cluster's has an error apart."""


def connect(
    url: str, *, connect_seconds: float = CONNECT_SECONDS, answer_seconds: float = ANSWER_SECONDS
) -> Client:
    """A client for ``redis://``, ``rediss://``, ``unix://`` or ``redis+cluster://``.

    It does not connect before its first command (a cluster client does). One command waits for at
    most `connect_seconds` + `answer_seconds`: RESP2 without a greeting, so a fresh connection costs
    no further round trip, and no retry.
    """
    options: dict[str, Any] = {
        "socket_connect_timeout": connect_seconds,
        "socket_timeout": answer_seconds,
        "protocol": 2,
        "driver_info": None,
        "retry": Retry(NoBackoff(), 0),
    }
    if url.startswith(CLUSTER_SCHEME):
        options["retry"] = Retry(NoBackoff(), 1)
        return RedisCluster.from_url("redis://" + url.removeprefix(CLUSTER_SCHEME), **options)
    return Redis.from_url(url, **options)


def connect_async(url: str) -> AsyncClient:
    """A client for the same addresses that waits for its answers in an event loop, and patiently.

    It does not connect before its first command.
    """
    from redis.asyncio import Redis as AsyncRedis
    from redis.asyncio import RedisCluster as AsyncRedisCluster

    options: dict[str, Any] = {
        "socket_connect_timeout": PATIENT_CONNECT_SECONDS,
        "socket_timeout": PATIENT_ANSWER_SECONDS,
    }
    if url.startswith(CLUSTER_SCHEME):
        return AsyncRedisCluster.from_url("redis://" + url.removeprefix(CLUSTER_SCHEME), **options)
    return AsyncRedis.from_url(url, **options)
