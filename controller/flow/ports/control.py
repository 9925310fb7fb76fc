"""Audit, outbox, lease and the deployment's own name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from controller.audit.chain import Entry


class Audit(Protocol):
    """The append-only hash chain of one project."""

    def append(
        self, project: str, *, at: datetime, actor: str, action: str, object: str, **details: Any
    ) -> Entry: ...
    def entries(
        self, project: str, *, after: int = 0, most: int = 200, object: str | None = None
    ) -> Sequence[Entry]: ...
    def head(self, project: str) -> Entry | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A side effect that is due."""

    project: str
    id: str
    kind: str
    document: Mapping[str, Any]
    attempts: int = 0


class Outbox(Protocol):
    """Side effects that commit with their cause and are carried out after."""

    def add(self, project: str, kind: str, document: Mapping[str, Any], *, at: datetime) -> str: ...
    def due(self, now: datetime, *, most: int = 50) -> Sequence[Message]: ...
    def done(self, project: str, message: str, *, at: datetime) -> None: ...
    def failed(self, project: str, message: str, *, error: str, retry_at: datetime) -> None: ...


class Leases(Protocol):
    """Who may act; the epoch rises whenever the holder changes."""

    def take(self, name: str, holder: str, *, now: datetime, seconds: float) -> int | None:
        """The fencing epoch where `holder` has or gets the lease; None where another has it."""
        ...

    def check(self, name: str, holder: str, epoch: int) -> None:
        """Raise `LeaseLost` unless holder and epoch are still the stored ones."""
        ...


class Deployments(Protocol):
    """The id this deployment was born with, and when its database was last restored."""

    def id(self, *, at: datetime) -> str:
        """Created on first use."""
        ...

    def known(self) -> str | None:
        """The id, or None before its first use."""
        ...

    def restored(self, *, at: datetime) -> None:
        """Its database came out of a backup: what was written since that was made is lost."""
        ...

    def restored_at(self) -> datetime | None:
        """When that was noticed last; None where it never was."""
        ...
