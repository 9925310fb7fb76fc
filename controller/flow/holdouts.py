"""Define holdouts: units that no rollout reaches, chosen by a salt of their own."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from controller.errors import NotFound
from controller.experiments.holdouts import Holdout
from controller.flow.actors import Actor, Role
from controller.flow.ports.traffic import StoredHoldout
from controller.flow.ports.work import Store, Work
from controller.flow.traffic_changes import carry_out, live_among, reaches

MAY_CHANGE = (Role.POLICY_ADMIN, Role.ADMIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldoutView:
    """A holdout with the slots it reaches and the rollouts that live in them."""

    stored: StoredHoldout
    slots: tuple[str, ...]
    live: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """The JSON form: the definition, and under `status` what follows from it."""
        return {
            **self.stored.holdout.document(),
            "status": {
                "slots": list(self.slots),
                "live": list(self.live),
                "updated_at": self.stored.updated_at.isoformat(),
                "updated_by": self.stored.updated_by,
            },
        }


def put_holdout(
    store: Store, project: str, document: Any, *, name: str, actor: Actor
) -> HoldoutView:
    """Create a holdout or change it; its salt stays, so a larger share keeps everybody it held.

    Raises
    ------
    InvalidInput
        If the document does not say a holdout.
    NotPermitted
        If the actor is no policy administrator.
    """
    actor.require(*MAY_CHANGE)
    holdout = Holdout.from_document(document, name=name)
    with store.writing() as work:
        work.take_turn(project)
        stored = work.traffic.holdout(project, name)
        before = None if stored is None else stored.holdout
        if before != holdout:
            reached = reaches(work, project)
            work.traffic.put_holdout(
                project, holdout, salt=secrets.token_hex(8), actor=actor.name, at=work.now
            )
            carry_out(
                work,
                project,
                reached,
                object=f"holdout/{name}",
                actor=actor,
                audit={
                    "action": "holdout_put",
                    "before": None if before is None else before.document(),
                    "after": holdout.document(),
                },
            )
        return holdout_view(work, project, name)


def delete_holdout(store: Store, project: str, name: str, *, actor: Actor) -> None:
    """Forget a holdout; one made later under its name holds out other units.

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
        before = holdout_view(work, project, name).stored.holdout
        reached = reaches(work, project)
        work.traffic.delete_holdout(project, name)
        carry_out(
            work,
            project,
            reached,
            object=f"holdout/{name}",
            actor=actor,
            audit={"action": "holdout_deleted", "before": before.document(), "after": None},
        )


def holdout_view(work: Work, project: str, name: str) -> HoldoutView:
    """One holdout and whom it concerns.

    Raises
    ------
    NotFound
        If there is none.
    """
    stored = work.traffic.holdout(project, name)
    if stored is None:
        raise NotFound(f"There is no holdout {name!r:.80} in project {project!r}.")
    return _view(work, project, stored)


def holdout_views(work: Work, project: str) -> Sequence[HoldoutView]:
    """Every holdout, by name."""
    return [_view(work, project, stored) for stored in work.traffic.holdouts(project)]


def _view(work: Work, project: str, stored: StoredHoldout) -> HoldoutView:
    slots = tuple(
        one.slot.key
        for one in work.definitions.slots(project)
        if stored.holdout.reaches(unit=one.slot.unit, tags=one.slot.tags)
    )
    return HoldoutView(stored=stored, slots=slots, live=tuple(live_among(work, project, slots)))
