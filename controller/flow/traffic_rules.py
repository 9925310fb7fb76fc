"""What keeps units out of a slot's rollout: read from the definitions, published, remembered.

Holdouts, layers and overrides are definitions of their own; a slot's `Gates` are what of them
concerns it. Every publication remembers a slot's gates where they changed, under the ruleset's
version, because the aggregator must know what held when an exposure was decided.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from controller.assignment.choice import CHAMPION
from controller.assignment.document import write_gates
from controller.assignment.hashing import BUCKETS
from controller.assignment.ruleset import Gates, Layer, Overrides, RolloutRules, Share, SlotRules
from controller.assignment.runs import living
from controller.experiments.slots import Slot
from controller.flow.numbers import share
from controller.flow.ports.definitions import StoredSlot
from controller.flow.ports.traffic import StoredHoldout, StoredLayer, StoredOverride
from controller.flow.ports.work import Work
from controller.rollout.shares import PPM, to_ppm


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Which share of a slot's units its rollout can meet at all, before anybody is enrolled.

    Attributes
    ----------
    holdouts : tuple of mappings
        `name`, `share` and `tag` of each holdout that reaches the slot.
    layer : mapping or None
        `name` and `share` of the slot in its layer.
    overrides : int
        Units whose arm was given by hand.
    """

    holdouts: tuple[Mapping[str, Any], ...] = ()
    layer: Mapping[str, Any] | None = None
    overrides: int = 0

    @property
    def held_out(self) -> float:
        """Share of the units that some holdout keeps: their salts are independent."""
        return 1.0 - prod(1.0 - float(holdout["share"]) for holdout in self.holdouts)

    @property
    def share(self) -> float:
        """Share of all units that may take part, in [0, 1]."""
        inside = 1.0 if self.layer is None else float(self.layer["share"])
        return (1.0 - self.held_out) * inside

    @property
    def sentence(self) -> str:
        """Why not everybody can take part; empty where everybody can."""
        why = []
        if self.held_out > 0:
            why.append(f"{share(self.held_out)} is held out")
        if self.layer is not None:
            why.append(f"layer {self.layer['name']} gives the slot {share(self.layer['share'])}")
        if not why:
            return ""
        return f"At most {share(self.share)} can take part: {' and '.join(why)}."

    def document(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "share": self.share,
            "sentence": self.sentence,
            "held_out": self.held_out,
            "holdouts": [dict(holdout) for holdout in self.holdouts],
            "layer": None if self.layer is None else dict(self.layer),
            "overrides": self.overrides,
        }


EVERYBODY = Reach()


class TrafficRules:
    """Everything that keeps units out in one project, read once.

    Parameters
    ----------
    work : Work
        The transaction whose definitions count.
    """

    def __init__(self, work: Work, project: str) -> None:
        self._holdouts: Sequence[StoredHoldout] = work.traffic.holdouts(project)
        self._layers: dict[str, StoredLayer] = {
            slot: stored for stored in work.traffic.layers(project) for slot in stored.layer.slots
        }
        self._overrides: dict[str, list[StoredOverride]] = defaultdict(list)
        for override in work.traffic.overrides(project):
            self._overrides[override.slot].append(override)
        self._keys = {
            slot: work.traffic.override_key(project, slot) or "" for slot in self._overrides
        }

    def gates(self, slot: Slot, arms: Collection[str] | None) -> Gates:
        """The gates of one slot.

        Parameters
        ----------
        arms : collection of str, or None
            Arms that the live rollout serves: an override that names another one gives the
            champion. None where no rollout lives.
        """
        layer = self._layers.get(slot.key)
        return Gates(
            overrides=self._given(slot.key, arms),
            holdouts=tuple(
                Share(name=one.holdout.name, salt=one.salt, ppm=to_ppm(one.holdout.share))
                for one in self._reaching(slot)
            ),
            layer=None
            if layer is None
            else Layer(name=layer.layer.name, salt=layer.salt, ranges=layer.ranges[slot.key]),
        )

    def reach(self, slot: Slot) -> Reach:
        """The same in numbers, for people."""
        return _reach(
            slot,
            self._reaching(slot),
            self._layers.get(slot.key),
            overrides=len(self._overrides.get(slot.key, ())),
        )

    def _reaching(self, slot: Slot) -> list[StoredHoldout]:
        return [
            one for one in self._holdouts if one.holdout.reaches(unit=slot.unit, tags=slot.tags)
        ]

    def _given(self, slot: str, arms: Collection[str] | None) -> Overrides | None:
        overrides = self._overrides.get(slot)
        if not overrides:
            return None
        return Overrides(
            key=self._keys[slot],
            arms={
                one.unit_hash: one.arm if arms is None or one.arm in arms else CHAMPION
                for one in overrides
            },
        )


def reach_of(work: Work, project: str, slot: Slot) -> Reach:
    """What keeps units out of one slot, as the definitions stand now."""
    holdouts = [
        one
        for one in work.traffic.holdouts(project)
        if one.holdout.reaches(unit=slot.unit, tags=slot.tags)
    ]
    layer = work.traffic.layer_of(project, slot.key)
    stored = None if layer is None else work.traffic.layer(project, layer)
    return _reach(slot, holdouts, stored, overrides=work.traffic.count_overrides(project, slot.key))


def _reach(
    slot: Slot, holdouts: Sequence[StoredHoldout], layer: StoredLayer | None, *, overrides: int
) -> Reach:
    return Reach(
        holdouts=tuple(
            {
                "name": one.holdout.name,
                "share": to_ppm(one.holdout.share) / PPM,
                "tag": one.holdout.tag,
            }
            for one in holdouts
        ),
        layer=None
        if layer is None
        else {"name": layer.layer.name, "share": _owned(layer, slot.key)},
        overrides=overrides,
    )


def open_arms(split: RolloutRules) -> Collection[str]:
    """The arms that an override may give: those that the split serves now.

    A rollback, or an arm that is given up, brings back the units that were set by hand as well.
    """
    if split.enrolled_ppm == 0:
        return (CHAMPION,)
    return {CHAMPION, *(arm for _, arm in living(split.runs, split.retired) if arm is not None)}


def with_gates(
    work: Work,
    project: str,
    stored: Sequence[StoredSlot],
    rules: Mapping[str, SlotRules],
    *,
    ruleset: int,
) -> dict[str, SlotRules]:
    """The rules of every slot with their gates, remembered under the version where they changed."""
    traffic, known = TrafficRules(work, project), work.traffic.gates(project)
    gated: dict[str, SlotRules] = {}
    for one in stored:
        mine = rules[one.slot.key]
        arms = None if mine.rollout is None else open_arms(mine.rollout)
        gates = traffic.gates(one.slot, arms)
        document = write_gates(gates)
        if document != known.get(one.slot.key, {}):
            work.traffic.add_gates(project, one.slot.key, document, ruleset=ruleset)
        gated[one.slot.key] = replace(
            mine, overrides=gates.overrides, holdouts=gates.holdouts, layer=gates.layer
        )
    return gated


def _owned(stored: StoredLayer, slot: str) -> float:
    return sum(end - start for start, end in stored.ranges[slot]) / BUCKETS
