"""Which websites' scripts may call the few routes that keys for browsers can open.

Only websites that some living key names get a grant, never with cookies, and only on routes that
evaluate; the key itself is checked as always. Everything else stays closed to other origins.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from controller.errors import Unavailable
from controller.flow.ports.work import Store

FRESH_SECONDS: Final = 5.0
PATHS: Final = ("/v1/assign", "/v1/assign/batch", "/v1/expose")
PREFIXES: Final = ("/ofrep/v1/evaluate/flags",)
PREFLIGHT: Final = (
    ("Access-Control-Allow-Methods", "POST"),
    ("Access-Control-Allow-Headers", "Authorization, Content-Type, If-None-Match, X-API-Key"),
    ("Access-Control-Max-Age", "600"),
)


class Origins:
    """The websites of living keys, read again every few seconds."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._known: frozenset[str] = frozenset()
        self._read_at = -FRESH_SECONDS

    def grant(self, environ: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Headers that let the asking website read the answer; none where it may not."""
        origin = environ.get("HTTP_ORIGIN")
        path = environ.get("PATH_INFO", "")
        if origin is None or not (path in PATHS or path.startswith(PREFIXES)):
            return []
        vary = ("Vary", "Origin")
        if origin not in self._now():
            return [vary]
        granted = ("Access-Control-Allow-Origin", origin)
        return [vary, granted, ("Access-Control-Expose-Headers", "ETag, Retry-After")]

    def _now(self) -> frozenset[str]:
        now = self._clock()
        if now - self._read_at >= FRESH_SECONDS:
            self._read_at = now
            try:
                with self._store.reading() as work:
                    self._known = work.people.origins()
            except Unavailable:
                return self._known
        return self._known


def is_preflight(environ: Mapping[str, Any]) -> bool:
    """Whether a browser asks if it may ask."""
    return (
        environ["REQUEST_METHOD"] == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ
    )
