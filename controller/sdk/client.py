"""The client an application holds."""

from __future__ import annotations

from typing import Self

from controller.sdk.core import Core
from controller.sdk.engine import CLOSE_SECONDS


class Client(Core):
    """A client of one service under one key: assigns locally, reports in the background.

    Calls never raise, never wait for the network and answer champion when in doubt; `reason` says
    why. See `Core` for the parameters.

    Examples
    --------
    >>> client = Client()  # offline: no service, no ruleset
    >>> choice = client.assign("late-flight-alert", unit="4711", default={"threshold": 0.25})
    >>> choice.arm, choice.reason.value, choice.payload
    ('champion', 'NO_RULESET', {'threshold': 0.25})
    """

    def wait_until_ready(self, timeout_seconds: float = 5.0) -> bool:
        """Whether a ruleset is there, waiting for the first one if need be. For start-up code."""
        return self.prepare(timeout_seconds)

    def flush(self, timeout_seconds: float = 5.0) -> bool:
        """Whether everything reported so far was acknowledged by the service in time."""
        return self._flush(timeout_seconds)

    def close(self, timeout_seconds: float = CLOSE_SECONDS) -> None:
        """Deliver what is possible in time, keep the rest on disk, stop the threads."""
        self._engine.close(timeout_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
