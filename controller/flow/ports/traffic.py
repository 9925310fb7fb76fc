"""Where what keeps units out of rollouts is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from controller.assignment.runs import Ranges
from controller.experiments.holdouts import Holdout
from controller.experiments.layers import Layer


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredHoldout:
    """A holdout with the salt that chooses its units."""

    holdout: Holdout
    salt: str
    updated_at: datetime
    updated_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLayer:
    """A layer with its salt and the buckets `[start, end)` of 10,000 that each slot owns."""

    layer: Layer
    salt: str
    ranges: Mapping[str, Ranges]
    updated_at: datetime
    updated_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredOverride:
    """An arm given by hand; `unit_hash` is the unit under the slot's key."""

    slot: str
    unit_hash: str
    arm: str
    set_at: datetime
    set_by: str


class Traffic(Protocol):
    """Holdouts, layers and overrides of one project at a time, and since when they hold."""

    def holdout(self, project: str, name: str) -> StoredHoldout | None: ...
    def holdouts(self, project: str) -> Sequence[StoredHoldout]:
        """Every holdout, by name."""
        ...

    def put_holdout(
        self, project: str, holdout: Holdout, *, salt: str, actor: str, at: datetime
    ) -> None:
        """Create or replace; the salt counts only on creation."""
        ...

    def delete_holdout(self, project: str, name: str) -> None: ...

    def layer(self, project: str, name: str) -> StoredLayer | None: ...
    def layers(self, project: str) -> Sequence[StoredLayer]:
        """Every layer, by name."""
        ...

    def layer_of(self, project: str, slot: str) -> str | None:
        """Name of the layer that a slot is in."""
        ...

    def put_layer(
        self,
        project: str,
        layer: Layer,
        *,
        ranges: Mapping[str, Ranges],
        salt: str,
        actor: str,
        at: datetime,
    ) -> None:
        """Create or replace; the salt counts only on creation."""
        ...

    def delete_layer(self, project: str, name: str) -> None: ...

    def override_key(self, project: str, slot: str) -> str | None:
        """What the slot's overridden units are hashed with; None before the first."""
        ...

    def set_override_key(self, project: str, slot: str, key: str) -> None: ...
    def override(self, project: str, slot: str, unit_hash: str) -> StoredOverride | None: ...
    def overrides(self, project: str, slot: str | None = None) -> Sequence[StoredOverride]:
        """Those of one slot, or of every slot, in the order they were set."""
        ...

    def count_overrides(self, project: str, slot: str) -> int: ...
    def put_override(
        self, project: str, slot: str, unit_hash: str, arm: str, *, actor: str, at: datetime
    ) -> None:
        """Create or replace."""
        ...

    def delete_override(self, project: str, slot: str, unit_hash: str) -> None: ...

    def is_analysed(self, project: str, rollout: str, unit: str) -> bool:
        """Whether a rollout's evidence holds this unit."""
        ...

    def gates(self, project: str) -> Mapping[str, Mapping[str, Any]]:
        """The newest published gates of each slot that ever had any (`assignment.Gates`)."""
        ...

    def add_gates(
        self, project: str, slot: str, document: Mapping[str, Any], *, ruleset: int
    ) -> None:
        """What holds from this ruleset version on."""
        ...
