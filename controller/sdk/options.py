"""How a client is set up, read once from arguments and environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from controller.assignment.digest import sha256
from controller.errors import InvalidInput

if TYPE_CHECKING:
    from ssl import SSLContext
    from urllib.parse import SplitResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything that configures a client; `Client` describes each.

    Raises
    ------
    InvalidInput
        If the URL or the key is malformed, or one is given without the other.
    """

    url: str | None = None
    key: str | None = field(default=None, repr=False)
    bootstrap: str | Path | Mapping[str, Any] | None = None
    state_dir: str | Path | None = None
    override_file: str | Path | None = None
    poll_seconds: float = 10.0
    flush_seconds: float = 1.0
    timeout_seconds: float = 5.0
    max_staleness_seconds: float | None = None
    stream: bool = True
    ssl_context: SSLContext | None = None

    def __post_init__(self) -> None:
        if (self.url is None) != (self.key is None):
            raise InvalidInput("A client needs both url and key, or neither to stay offline.")
        if self.url is not None and self.key is not None:
            check_url(self.url)
            key_id(self.key)

    @property
    def offline(self) -> bool:
        """Whether the client never touches the network."""
        return self.url is None

    @property
    def directory(self) -> Path | None:
        """Where this client keeps its snapshot and its spool; None while offline.

        One directory per service and key, under `state_dir`, else ``CONTROLLER_STATE_DIR``, else
        the user's state directory; None as well where the user has no home or `state_dir` is none.
        """
        if self.url is None or self.key is None:
            return None
        name = sha256(f"{self.url}\n{key_id(self.key)}".encode()).hexdigest()[:16]
        try:
            return self._state() / name
        except (RuntimeError, TypeError):
            return None

    def _state(self) -> Path:
        if self.state_dir is not None:
            return Path(self.state_dir)
        if root := os.environ.get("CONTROLLER_STATE_DIR"):
            return Path(root)
        base = os.environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser()
        return Path(base) / "rollout-controller"


def key_id(key: str) -> str:
    """The public part of a key; a key that is none is an `InvalidInput`."""
    from controller.assignment.signature import split_key

    return split_key(key)[0]


def make_private(directory: Path) -> None:
    """Create a directory, and those above it that are missing, for their owner alone."""
    if not directory.is_dir():
        make_private(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)


def check_url(url: str) -> SplitResult:
    """The parts of a service URL.

    Raises
    ------
    InvalidInput
        If it is not ``http://`` or ``https://`` with a host and, perhaps, a port from 1 to 65535.
    """
    from urllib.parse import urlsplit  # offline nobody needs it

    try:
        parts = urlsplit(url)
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0:
            return parts
    except (ValueError, TypeError, AttributeError):
        """Said below, like the rest."""
    raise InvalidInput(f"The service URL must look like http://host:port, not {url!r}.")
