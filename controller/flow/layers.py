"""Define layers: slots that share out their units, so that no unit meets two of their rollouts."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from controller.assignment.hashing import BUCKETS
from controller.assignment.layers import allot, buckets_of
from controller.errors import Conflict, InvalidInput, NotFound
from controller.experiments.layers import Layer
from controller.flow.actors import Actor, Role
from controller.flow.ports.traffic import StoredLayer
from controller.flow.ports.work import Store, Work
from controller.flow.traffic_changes import carry_out, live_among, reaches

MAY_CHANGE = (Role.POLICY_ADMIN, Role.ADMIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerView:
    """A layer with the rollouts that live in its slots."""

    stored: StoredLayer
    live: tuple[str, ...]

    @property
    def free(self) -> float:
        """Share of the units that belongs to no slot, in [0, 1]."""
        parts = [part for ranges in self.stored.ranges.values() for part in ranges]
        return 1.0 - sum(end - start for start, end in parts) / BUCKETS

    def document(self) -> dict[str, Any]:
        """The JSON form: the definition, and under `status` the buckets that the service gave."""
        return {
            **self.stored.layer.document(),
            "status": {
                "ranges": {
                    slot: [[start, end] for start, end in ranges]
                    for slot, ranges in self.stored.ranges.items()
                },
                "free": self.free,
                "live": list(self.live),
                "updated_at": self.stored.updated_at.isoformat(),
                "updated_by": self.stored.updated_by,
            },
        }


def put_layer(store: Store, project: str, document: Any, *, name: str, actor: Actor) -> LayerView:
    """Create a layer or change its shares; every slot keeps the buckets that it can keep.

    Raises
    ------
    InvalidInput
        If the document does not say a layer, or names a slot that does not exist or has units of
        another type.
    Conflict
        If a slot is in another layer.
    NotPermitted
        If the actor is no policy administrator.
    """
    actor.require(*MAY_CHANGE)
    layer = Layer.from_document(document, name=name)
    with store.writing() as work:
        work.take_turn(project)
        stored = work.traffic.layer(project, name)
        before = None if stored is None else stored.layer
        if before != layer:
            _check_slots(work, project, layer)
            reached = reaches(work, project)
            held = {} if stored is None or stored.layer.unit != layer.unit else stored.ranges
            wanted = {slot: buckets_of(share) for slot, share in layer.slots.items()}
            work.traffic.put_layer(
                project,
                layer,
                ranges=allot(held, wanted),
                salt=secrets.token_hex(8),
                actor=actor.name,
                at=work.now,
            )
            carry_out(
                work,
                project,
                reached,
                object=f"layer/{name}",
                actor=actor,
                audit={
                    "action": "layer_put",
                    "before": None if before is None else before.document(),
                    "after": layer.document(),
                },
            )
        return layer_view(work, project, name)


def delete_layer(store: Store, project: str, name: str, *, actor: Actor) -> None:
    """Forget a layer: its slots may meet every unit again, the same ones as each other.

    Raises
    ------
    NotFound
        If there is none.
    NotPermitted
        If the actor is no policy administrator.
    """
    actor.require(*MAY_CHANGE)
    with store.writing() as work:
        work.take_turn(project)
        before = layer_view(work, project, name).stored.layer
        reached = reaches(work, project)
        work.traffic.delete_layer(project, name)
        carry_out(
            work,
            project,
            reached,
            object=f"layer/{name}",
            actor=actor,
            audit={"action": "layer_deleted", "before": before.document(), "after": None},
        )


def layer_view(work: Work, project: str, name: str) -> LayerView:
    """One layer and whom it concerns.

    Raises
    ------
    NotFound
        If there is none.
    """
    stored = work.traffic.layer(project, name)
    if stored is None:
        raise NotFound(f"There is no layer {name!r:.80} in project {project!r}.")
    return _view(work, project, stored)


def layer_views(work: Work, project: str) -> Sequence[LayerView]:
    """Every layer, by name."""
    return [_view(work, project, stored) for stored in work.traffic.layers(project)]


def _view(work: Work, project: str, stored: StoredLayer) -> LayerView:
    live = live_among(work, project, list(stored.layer.slots))
    return LayerView(stored=stored, live=tuple(live))


def _check_slots(work: Work, project: str, layer: Layer) -> None:
    for key in layer.slots:
        where = f"layer.slots.{key}"
        stored = work.definitions.slot(project, key)
        if stored is None:
            raise InvalidInput(
                f"{where}: there is no such slot; define it with PUT /v1/slots/{key}.", field=where
            )
        if stored.slot.unit != layer.unit:
            raise InvalidInput(
                f"{where}: its unit is {stored.slot.unit!r}, the layer's {layer.unit!r}.",
                field=where,
            )
        other = work.traffic.layer_of(project, key)
        if other not in (None, layer.name):
            raise Conflict(f"Slot {key} is in layer {other!r}; a slot is in one layer at most.")
