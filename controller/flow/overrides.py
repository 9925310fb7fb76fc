"""Give single units an arm by hand, for testing: kept as keyed hashes, never analysed."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from controller.assignment.choice import CHAMPION
from controller.assignment.document import MAX_OVERRIDES, read_gates
from controller.assignment.hashing import check_unit, keyed_hash
from controller.errors import Conflict, InvalidInput, NotFound
from controller.experiments.document import Fields
from controller.experiments.plans import challenger_names
from controller.flow.actors import Actor, Role
from controller.flow.ports.definitions import StoredSlot
from controller.flow.ports.traffic import StoredOverride
from controller.flow.ports.work import Store, Work
from controller.flow.publish import publish

MAY_OVERRIDE = (Role.OPERATOR, Role.POLICY_ADMIN, Role.ADMIN)
_HASH = re.compile(r"[0-9a-f]{16}")
_ARM = re.compile(r"challenger(-[1-9][0-9]?)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class OverrideView:
    """An override, and the arm that the unit really meets now.

    Attributes
    ----------
    meets : str or None
        None while no rollout splits the slot's units.
    analysed : bool or None
        Whether the live rollout's evidence holds the unit from before; None where only its hash is
        known.
    """

    stored: StoredOverride
    meets: str | None
    analysed: bool | None = None

    def document(self) -> dict[str, Any]:
        """The JSON form; the unit appears as its keyed hash alone."""
        return {
            "unit_hash": self.stored.unit_hash,
            "arm": self.stored.arm,
            "meets": self.meets,
            "set_at": self.stored.set_at.isoformat(),
            "set_by": self.stored.set_by,
            **({} if self.analysed is None else {"analysed": self.analysed}),
        }


def read_arm(document: Any) -> str:
    """The arm of an override request.

    Raises
    ------
    InvalidInput
        If it is no arm's name.
    """
    fields = Fields(document, "override")
    arm = fields.text("arm", most=32)
    fields.done()
    if arm != CHAMPION and not _ARM.fullmatch(arm):
        raise InvalidInput(
            f"override.arm: expected {CHAMPION}, {challenger_names(1)[0]} or challenger-N.",
            field="override.arm",
        )
    return arm


def set_override(
    store: Store, project: str, slot: str, unit: str, arm: str, *, actor: Actor
) -> OverrideView:
    """Show one unit one arm, whatever the split says, until the override is deleted.

    Raises
    ------
    As for `set_overrides`.
    """
    return set_overrides(store, project, slot, [unit], arm, actor=actor)[0]


def set_overrides(
    store: Store, project: str, slot: str, units: Sequence[str], arm: str, *, actor: Actor
) -> list[OverrideView]:
    """Show some units one arm, in one publication; all of them or none.

    Raises
    ------
    NotFound
        If there is no such slot.
    InvalidInput
        If a unit is no unit id.
    Conflict
        If the slot would have more than 1,000 overrides.
    NotPermitted
        If the actor is no operator or policy administrator.
    """
    actor.require(*MAY_OVERRIDE)
    for unit in units:
        check_unit(unit)
    with store.writing() as work:
        work.take_turn(project)
        stored = _slot(work, project, slot)
        key = _key(work, project, slot)
        names = {keyed_hash(key, stored.slot.unit, unit): unit for unit in units}
        known = {one.unit_hash: one for one in work.traffic.overrides(project, slot)}
        if len(known.keys() | names.keys()) > MAX_OVERRIDES:
            raise Conflict(f"Slot {slot} would have more than {MAX_OVERRIDES:,} overrides.")
        changed = [name for name in names if name not in known or known[name].arm != arm]
        for name in changed:
            work.traffic.put_override(project, slot, name, arm, actor=actor.name, at=work.now)
            _note(work, project, slot, actor, name=name, before=known.get(name), after=arm)
        if changed:
            publish(work, project)
        live = work.rollouts.live_in(project, slot)
        return [
            replace(
                view,
                analysed=live is not None
                and work.traffic.is_analysed(project, live.id, names[view.stored.unit_hash]),
            )
            for view in _views(work, project, slot)
            if view.stored.unit_hash in names
        ]


def delete_override(store: Store, project: str, slot: str, unit: str, *, actor: Actor) -> None:
    """Let the unit take part again; the live rollout will still not analyse it.

    Raises
    ------
    As for `delete_overrides`.
    """
    delete_overrides(store, project, slot, [unit], actor=actor)


def delete_overrides(
    store: Store, project: str, slot: str, units: Sequence[str], *, actor: Actor
) -> None:
    """The same for some units, in one publication; all of them or none.

    Raises
    ------
    NotFound
        If there is no such slot, or a unit has no override in it.
    InvalidInput
        If a unit is no unit id.
    NotPermitted
        If the actor is no operator or policy administrator.
    """
    actor.require(*MAY_OVERRIDE)
    for unit in units:
        check_unit(unit)
    with store.writing() as work:
        work.take_turn(project)
        stored = _slot(work, project, slot)
        key = work.traffic.override_key(project, slot) or ""
        names = dict.fromkeys(keyed_hash(key, stored.slot.unit, unit) for unit in units)
        _delete(work, project, slot, list(names), actor)


def delete_override_by_hash(
    store: Store, project: str, slot: str, unit_hash: str, *, actor: Actor
) -> None:
    """The same for who knows only the hash that the list shows.

    Raises
    ------
    As for `delete_override`.
    """
    actor.require(*MAY_OVERRIDE)
    if not _HASH.fullmatch(unit_hash):
        raise InvalidInput("unit_hash: expected 16 hexadecimal digits.", field="unit_hash")
    with store.writing() as work:
        work.take_turn(project)
        _slot(work, project, slot)
        _delete(work, project, slot, [unit_hash], actor)


def overrides_of(work: Work, project: str, slot: str) -> list[OverrideView]:
    """Every override of a slot, in the order they were set.

    Raises
    ------
    NotFound
        If there is no such slot.
    """
    _slot(work, project, slot)
    return _views(work, project, slot)


def _slot(work: Work, project: str, slot: str) -> StoredSlot:
    stored = work.definitions.slot(project, slot)
    if stored is None:
        raise NotFound(f"There is no slot {slot!r:.80} in project {project!r}.")
    return stored


def _key(work: Work, project: str, slot: str) -> str:
    """The slot's key, made with its first override; whoever lacks it cannot test ids."""
    key = work.traffic.override_key(project, slot)
    if key is None:
        key = secrets.token_hex(16)
        work.traffic.set_override_key(project, slot, key)
    return key


def _delete(work: Work, project: str, slot: str, names: Sequence[str], actor: Actor) -> None:
    for name in names:
        before = work.traffic.override(project, slot, name)
        if before is None:
            missing = "This unit has" if len(names) == 1 else "One of these units has"
            raise NotFound(f"{missing} no override in slot {slot}.")
        work.traffic.delete_override(project, slot, name)
        _note(work, project, slot, actor, name=name, before=before, after=None)
    publish(work, project)


def _note(
    work: Work,
    project: str,
    slot: str,
    actor: Actor,
    *,
    name: str,
    before: StoredOverride | None,
    after: str | None,
) -> None:
    work.audit.append(
        project,
        at=work.now,
        actor=actor.name,
        action="override_set" if after is not None else "override_deleted",
        object=f"override/{slot}/{name}",
        before=None if before is None else before.arm,
        after=after,
    )


def _views(work: Work, project: str, slot: str) -> list[OverrideView]:
    met = _met(work, project, slot)
    return [
        OverrideView(stored=one, meets=None if met is None else met.get(one.unit_hash, CHAMPION))
        for one in work.traffic.overrides(project, slot)
    ]


def _met(work: Work, project: str, slot: str) -> Mapping[str, str] | None:
    """The arm that each unit gets, as it was published; None while no rollout splits the slot."""
    live = work.rollouts.live_in(project, slot)
    if live is None or live.allocation == 0:
        return None
    if _slot(work, project, slot).kill is not None:
        return {}
    overrides = read_gates(work.traffic.gates(project).get(slot, {})).overrides
    return {} if overrides is None else overrides.arms
