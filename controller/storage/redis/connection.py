"""Clients of Redis or Valkey that give up quickly and never retry on their own."""

from __future__ import annotations

from typing import Any, Final

from redis import Redis, RedisCluster
from redis.backoff import NoBackoff
from redis.retry import Retry

CONNECT_SECONDS: Final = 0.020
ANSWER_SECONDS: Final = 0.025
CLUSTER_SCHEME: Final = "redis+cluster://"

Client = Redis | RedisCluster


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
