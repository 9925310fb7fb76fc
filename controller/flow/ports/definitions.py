"""Where definitions are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from controller.experiments.metrics import Metric
from controller.experiments.models import Model
from controller.experiments.policies import Policy
from controller.experiments.slots import Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSlot:
    """A slot with what the service keeps beside its definition.

    `kill` is None, or {"to": "champion" | "previous" | "fallback", "note", "actor", "at"}.
    """

    slot: Slot
    version: int
    observe_salt: str
    previous_champion: Model | None
    kill: Mapping[str, Any] | None
    updated_at: datetime
    updated_by: str


class Definitions(Protocol):
    """Metrics, policies and slots of one project at a time."""

    def metric(self, project: str, key: str) -> Metric | None: ...
    def metrics(self, project: str) -> Sequence[Metric]: ...
    def put_metric(self, project: str, metric: Metric, *, actor: str, at: datetime) -> None: ...

    def policy(self, project: str, name: str, version: int | None = None) -> Policy | None: ...
    def policies(self, project: str) -> Sequence[Policy]:
        """The newest version of each policy."""
        ...

    def policy_editor(self, project: str, name: str, version: int | None = None) -> str | None:
        """Who wrote this version, or the newest."""
        ...

    def add_policy(self, project: str, policy: Policy, *, actor: str, at: datetime) -> Policy:
        """Store as the next version and return it with its number."""
        ...

    def slot(self, project: str, key: str) -> StoredSlot | None: ...
    def slots(self, project: str) -> Sequence[StoredSlot]: ...
    def put_slot(
        self, project: str, slot: Slot, *, observe_salt: str, actor: str, at: datetime
    ) -> None:
        """Create or replace the definition; the salt counts only on creation."""
        ...

    def set_champion(
        self, project: str, key: str, champion: Model, *, previous: Model | None, at: datetime
    ) -> None: ...
    def set_kill(self, project: str, key: str, kill: Mapping[str, Any] | None) -> None: ...
    def projects(self) -> Sequence[str]:
        """Every project that has a slot."""
        ...
