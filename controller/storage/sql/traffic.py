"""Holdouts, layers and overrides in SQL, and since which ruleset version they hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from controller.assignment.runs import Ranges
from controller.experiments.holdouts import Holdout
from controller.experiments.layers import Layer
from controller.flow.ports.traffic import StoredHoldout, StoredLayer, StoredOverride
from controller.storage.sql.schema.events import UnitRow
from controller.storage.sql.schema.traffic import (
    GatesRow,
    HoldoutRow,
    LayerRangeRow,
    LayerRow,
    LayerSlotRow,
    OverrideKeyRow,
    OverrideRow,
    PublishedOverrideRow,
)


class SqlTraffic:
    """Implements `flow.ports.traffic.Traffic` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    # ------------------------------------------------------------ holdouts

    def holdout(self, project: str, name: str) -> StoredHoldout | None:
        """One holdout, or None."""
        row = self._connection.execute(
            select(HoldoutRow.__table__).where(
                HoldoutRow.project == project, HoldoutRow.name == name
            )
        ).one_or_none()
        return None if row is None else _holdout(row)

    def holdouts(self, project: str) -> Sequence[StoredHoldout]:
        """Every holdout, by name."""
        rows = self._connection.execute(
            select(HoldoutRow.__table__)
            .where(HoldoutRow.project == project)
            .order_by(HoldoutRow.name)
        )
        return [_holdout(row) for row in rows]

    def put_holdout(
        self, project: str, holdout: Holdout, *, salt: str, actor: str, at: datetime
    ) -> None:
        """Create or replace; the salt counts only on creation."""
        values = {
            "unit": holdout.unit,
            "share": holdout.share,
            "tag": holdout.tag,
            "description": holdout.description,
            "updated_at": at,
            "updated_by": actor,
        }
        changed = self._connection.execute(
            update(HoldoutRow)
            .where(HoldoutRow.project == project, HoldoutRow.name == holdout.name)
            .values(**values)
        )
        if changed.rowcount == 0:
            self._connection.execute(
                insert(HoldoutRow).values(project=project, name=holdout.name, salt=salt, **values)
            )

    def delete_holdout(self, project: str, name: str) -> None:
        """Forget it and its salt."""
        self._connection.execute(
            delete(HoldoutRow).where(HoldoutRow.project == project, HoldoutRow.name == name)
        )

    # ------------------------------------------------------------ layers

    def layer(self, project: str, name: str) -> StoredLayer | None:
        """One layer, or None."""
        return next((one for one in self.layers(project) if one.layer.name == name), None)

    def layers(self, project: str) -> Sequence[StoredLayer]:
        """Every layer, by name."""
        shares: dict[str, dict[str, float]] = defaultdict(dict)
        for row in self._connection.execute(
            select(LayerSlotRow.__table__)
            .where(LayerSlotRow.project == project)
            .order_by(LayerSlotRow.slot)
        ):
            shares[row.layer][row.slot] = row.share
        ranges: dict[str, dict[str, Ranges]] = defaultdict(dict)
        for row in self._connection.execute(
            select(LayerRangeRow.__table__)
            .where(LayerRangeRow.project == project)
            .order_by(LayerRangeRow.layer, LayerRangeRow.first)
        ):
            mine = ranges[row.layer].get(row.slot, ())
            ranges[row.layer][row.slot] = (*mine, (row.first, row.past))
        rows = self._connection.execute(
            select(LayerRow.__table__).where(LayerRow.project == project).order_by(LayerRow.name)
        )
        return [_layer(row, shares[row.name], ranges[row.name]) for row in rows]

    def layer_of(self, project: str, slot: str) -> str | None:
        """Name of the layer that a slot is in."""
        return self._connection.scalar(
            select(LayerSlotRow.layer).where(
                LayerSlotRow.project == project, LayerSlotRow.slot == slot
            )
        )

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
        values = {
            "unit": layer.unit,
            "description": layer.description,
            "updated_at": at,
            "updated_by": actor,
        }
        changed = self._connection.execute(
            update(LayerRow)
            .where(LayerRow.project == project, LayerRow.name == layer.name)
            .values(**values)
        )
        if changed.rowcount == 0:
            self._connection.execute(
                insert(LayerRow).values(project=project, name=layer.name, salt=salt, **values)
            )
        self._forget_members(project, layer.name)
        for slot, share in layer.slots.items():
            self._connection.execute(
                insert(LayerSlotRow).values(
                    project=project, slot=slot, layer=layer.name, share=share
                )
            )
            for first, past in ranges[slot]:
                self._connection.execute(
                    insert(LayerRangeRow).values(
                        project=project, layer=layer.name, first=first, past=past, slot=slot
                    )
                )

    def delete_layer(self, project: str, name: str) -> None:
        """Forget it, its ranges and its salt."""
        self._forget_members(project, name)
        self._connection.execute(
            delete(LayerRow).where(LayerRow.project == project, LayerRow.name == name)
        )

    def _forget_members(self, project: str, name: str) -> None:
        self._connection.execute(
            delete(LayerRangeRow).where(
                LayerRangeRow.project == project, LayerRangeRow.layer == name
            )
        )
        self._connection.execute(
            delete(LayerSlotRow).where(LayerSlotRow.project == project, LayerSlotRow.layer == name)
        )

    # ------------------------------------------------------------ overrides

    def override_key(self, project: str, slot: str) -> str | None:
        """What the slot's overridden units are hashed with; None before the first."""
        return self._connection.scalar(
            select(OverrideKeyRow.key).where(
                OverrideKeyRow.project == project, OverrideKeyRow.slot == slot
            )
        )

    def set_override_key(self, project: str, slot: str, key: str) -> None:
        """Keep the key of a slot that has none."""
        self._connection.execute(insert(OverrideKeyRow).values(project=project, slot=slot, key=key))

    def override(self, project: str, slot: str, unit_hash: str) -> StoredOverride | None:
        """That of one unit, or None."""
        row = self._connection.execute(
            select(OverrideRow.__table__).where(
                OverrideRow.project == project,
                OverrideRow.slot == slot,
                OverrideRow.unit_hash == unit_hash,
            )
        ).one_or_none()
        return None if row is None else _override(row)

    def overrides(self, project: str, slot: str | None = None) -> Sequence[StoredOverride]:
        """Those of one slot, or of every slot, in the order they were set."""
        query = select(OverrideRow.__table__).where(OverrideRow.project == project)
        if slot is not None:
            query = query.where(OverrideRow.slot == slot)
        rows = self._connection.execute(query.order_by(OverrideRow.set_at, OverrideRow.unit_hash))
        return [_override(row) for row in rows]

    def count_overrides(self, project: str, slot: str) -> int:
        """How many a slot has."""
        return (
            self._connection.scalar(
                select(func.count()).where(OverrideRow.project == project, OverrideRow.slot == slot)
            )
            or 0
        )

    def put_override(
        self, project: str, slot: str, unit_hash: str, arm: str, *, actor: str, at: datetime
    ) -> None:
        """Create or replace."""
        self.delete_override(project, slot, unit_hash)
        self._connection.execute(
            insert(OverrideRow).values(
                project=project, slot=slot, unit_hash=unit_hash, arm=arm, set_at=at, set_by=actor
            )
        )

    def delete_override(self, project: str, slot: str, unit_hash: str) -> None:
        """Forget it."""
        self._connection.execute(
            delete(OverrideRow).where(
                OverrideRow.project == project,
                OverrideRow.slot == slot,
                OverrideRow.unit_hash == unit_hash,
            )
        )

    def is_analysed(self, project: str, rollout: str, unit: str) -> bool:
        """Whether a rollout's evidence holds this unit."""
        found = self._connection.scalar(
            select(func.count()).where(
                UnitRow.project == project,
                UnitRow.rollout == rollout,
                UnitRow.unit == unit,
                UnitRow.left_for.is_(None),
            )
        )
        return bool(found)

    # ------------------------------------------------------------ since when

    def gates(self, project: str) -> Mapping[str, Mapping[str, Any]]:
        """The newest published gates of each slot that ever had any."""
        newest = (
            select(GatesRow.slot, func.max(GatesRow.ruleset).label("ruleset"))
            .where(GatesRow.project == project)
            .group_by(GatesRow.slot)
            .subquery()
        )
        rows = self._connection.execute(
            select(GatesRow.slot, GatesRow.document)
            .join(
                newest,
                (GatesRow.slot == newest.c.slot) & (GatesRow.ruleset == newest.c.ruleset),
            )
            .where(GatesRow.project == project)
        )
        arms = self._published(project)
        return {row.slot: with_arms(row.document, arms.get(row.slot, {})) for row in rows}

    def add_gates(
        self, project: str, slot: str, document: Mapping[str, Any], *, ruleset: int
    ) -> None:
        """What holds from this ruleset version on; of the overrides, what changed is stored."""
        self._connection.execute(
            insert(GatesRow).values(
                project=project, slot=slot, ruleset=ruleset, document=with_arms(document, {})
            )
        )
        self._publish_arms(project, slot, arms_of(document), ruleset)

    def _publish_arms(self, project: str, slot: str, arms: Mapping[str, str], ruleset: int) -> None:
        known = self._published(project, slot).get(slot, {})
        gone = [name for name, arm in known.items() if arms.get(name) != arm]
        if gone:
            self._connection.execute(
                update(PublishedOverrideRow)
                .where(
                    PublishedOverrideRow.project == project,
                    PublishedOverrideRow.slot == slot,
                    PublishedOverrideRow.unit_hash.in_(gone),
                    PublishedOverrideRow.until.is_(None),
                )
                .values(until=ruleset)
            )
        new = [
            {"project": project, "slot": slot, "unit_hash": name, "since": ruleset, "arm": arm}
            for name, arm in arms.items()
            if known.get(name) != arm
        ]
        if new:
            self._connection.execute(insert(PublishedOverrideRow), new)

    def _published(self, project: str, slot: str | None = None) -> Mapping[str, dict[str, str]]:
        """The overrides that the newest ruleset gives: slot to hash to arm."""
        query = select(
            PublishedOverrideRow.slot, PublishedOverrideRow.unit_hash, PublishedOverrideRow.arm
        ).where(PublishedOverrideRow.project == project, PublishedOverrideRow.until.is_(None))
        if slot is not None:
            query = query.where(PublishedOverrideRow.slot == slot)
        found: dict[str, dict[str, str]] = defaultdict(dict)
        for row in self._connection.execute(query):
            found[row.slot][row.unit_hash] = row.arm
        return found


def arms_of(document: Mapping[str, Any]) -> Mapping[str, str]:
    """The overrides of gates as a document: hash to arm."""
    arms: Mapping[str, str] = document.get("overrides", {}).get("arms", {})
    return arms


def with_arms(document: Mapping[str, Any], arms: Mapping[str, str]) -> dict[str, Any]:
    """The same gates with these overrides; gates that have no overrides stay without."""
    if "overrides" not in document:
        return dict(document)
    return {**document, "overrides": {**document["overrides"], "arms": dict(arms)}}


def _holdout(row: Row[Any]) -> StoredHoldout:
    return StoredHoldout(
        holdout=Holdout(
            name=row.name,
            unit=row.unit,
            share=row.share,
            tag=row.tag,
            description=row.description,
        ),
        salt=row.salt,
        updated_at=row.updated_at,
        updated_by=row.updated_by,
    )


def _override(row: Row[Any]) -> StoredOverride:
    return StoredOverride(
        slot=row.slot,
        unit_hash=row.unit_hash,
        arm=row.arm,
        set_at=row.set_at,
        set_by=row.set_by,
    )


def _layer(row: Row[Any], slots: dict[str, float], ranges: dict[str, Ranges]) -> StoredLayer:
    return StoredLayer(
        layer=Layer(name=row.name, unit=row.unit, slots=slots, description=row.description),
        salt=row.salt,
        ranges=ranges,
        updated_at=row.updated_at,
        updated_by=row.updated_by,
    )
