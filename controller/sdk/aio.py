"""The same client for asyncio code: answers are never awaited, only what may wait is."""

from __future__ import annotations

from typing import Self

from controller.sdk.core import Core
from controller.sdk.engine import CLOSE_SECONDS


class AsyncClient(Core):
    """`Client` for asyncio, with the same methods.

    `assign`, `peek`, `track` and the rest are plain calls: they never wait. `wait_until_ready`,
    `flush` and `close` are awaited and do their waiting in a thread.
    """

    async def wait_until_ready(self, timeout_seconds: float = 5.0) -> bool:
        """See `Client.wait_until_ready`."""
        from asyncio import to_thread

        return await to_thread(self.prepare, timeout_seconds)

    async def flush(self, timeout_seconds: float = 5.0) -> bool:
        """See `Client.flush`."""
        from asyncio import to_thread

        return await to_thread(self._flush, timeout_seconds)

    async def close(self, timeout_seconds: float = CLOSE_SECONDS) -> None:
        """See `Client.close`."""
        from asyncio import to_thread

        await to_thread(self._engine.close, timeout_seconds)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
