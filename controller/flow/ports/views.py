"""What lists show of rollouts: narrow rows, so that a page of hundreds costs one query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from controller.rollout.record import Draft
from controller.rollout.states import State, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed:
    """One rollout as a list finds and orders it."""

    id: str
    slot: str
    state: State
    verdict: Verdict
    draft: Draft
    entered_at: datetime
    created_at: datetime
    ended_at: datetime | None

    @property
    def changed_at(self) -> datetime:
        """When it came into its present state."""
        return self.ended_at or self.entered_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What a list shows beside that: the plan's document, and the newest look's short form."""

    plan: Mapping[str, Any] | None
    look: Mapping[str, Any] | None


class Views(Protocol):
    """Reads for pages, never for decisions."""

    def index(self, project: str) -> Sequence[Indexed]:
        """Every rollout of a project, the newest first."""
        ...

    def listed(self, project: str, rollouts: Sequence[str]) -> Mapping[str, Listed]:
        """By id, for the rollouts that one page shows."""
        ...
