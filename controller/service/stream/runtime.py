"""What the stream process is made of: where it listens, whom it believes, where notes come from."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, Self

from controller.settings import Settings
from controller.telemetry import Telemetry


class Note(Protocol):
    """There is a ruleset of this version."""

    @property
    def project(self) -> str: ...
    @property
    def version(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRuntime:
    """Everything the stream process needs; it reads no SQL.

    Attributes
    ----------
    secret : str
        The deployment's secret key: verifies the tickets that web gives out.
    notes : callable
        Starts one subscription to every project's notes; it yields None where nothing came for a
        second and raises `Unavailable` when it is lost.
    project_of_key : callable or None
        The project of a service key that web has checked lately, or None; for an ingress that
        routes the stream here directly.
    most_streams : int
        Streams beyond this many are refused with 503.
    heartbeat_seconds, life_seconds : float
        How often a silent stream is written to, and about how long one lasts before the client is
        asked to connect again.
    """

    host: str
    port: int
    secret: str
    notes: Callable[[], AsyncIterator[Note | None]]
    telemetry: Telemetry
    project_of_key: Callable[[str], Awaitable[str | None]] | None = None
    most_streams: int = 5_000
    heartbeat_seconds: float = 15.0
    life_seconds: float = 900.0
    clock: Callable[[], float] = time.time

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The process as deployed: notes and checked keys from Redis."""
        from controller.storage.redis.connection import connect_async
        from controller.storage.redis.keys import project_of_key
        from controller.storage.redis.notes import follow_all

        namespace = settings.redis_namespace
        client = connect_async(settings.redis_url)
        return cls(
            host=settings.host,
            port=settings.stream_port,
            secret=settings.require_secret(),
            notes=lambda: follow_all(client, namespace=namespace),
            project_of_key=lambda key: project_of_key(client, key, namespace=namespace),
            telemetry=Telemetry(),
        )
