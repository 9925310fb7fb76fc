"""Which units could take part when: the gates of a slot, by the ruleset versions that set them.

Overrides, holdouts and layers stand before the split (`assignment.evaluate`), so an exposure of a
unit that they kept out is nothing the split gave. What held is asked of the very gates that
decided: those of the ruleset version which the exposure names.

A unit whose arm was given by hand stays out for the rest of the rollout: whoever set it may have
seen what it does. A unit that took part before is not thrown out by a later gate; its arm was drawn
and its first exposure stands.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from controller.assignment.choice import CHAMPION, Model, Reason
from controller.assignment.evaluate import Evaluator, Gate
from controller.assignment.hashing import BUCKETS, keyed_hash
from controller.assignment.ruleset import Gates, RolloutRules, SlotRules

_SERVED = Model(name="-", version="-")
_SPLIT = RolloutRules(
    id="-",
    attempt=1,
    allocation=1,
    salt="-",
    enrolled_ppm=0,
    runs=((BUCKETS, CHAMPION),),
    arms={CHAMPION: _SERVED},
)
"""A rollout must live for gates to count; what it splits does not matter to them."""


class Since(NamedTuple):
    """Gates, and the ruleset version from which they hold.

    Their overrides need only name the units that were not set by hand in an earlier one.
    """

    ruleset: int
    gates: Gates


class GateHistory:
    """What kept units out of one slot's rollout, and since when.

    Parameters
    ----------
    history : sequence of Since
        In order of ruleset version; the first may have begun before the rollout. Empty where the
        slot never kept anybody out.
    """

    def __init__(self, history: Sequence[Since], *, unit_type: str) -> None:
        self._unit_type = unit_type
        self._rulesets = [since.ruleset for since in history]
        self._gates = [since.gates for since in history]
        self._compiled: dict[int, tuple[Gate, ...]] = {}
        self._key = next((one.overrides.key for one in self._gates if one.overrides), "")
        self._by_hand: dict[str, int] = {}
        for ruleset, gates in history:
            for name in gates.overrides.arms if gates.overrides else ():
                self._by_hand.setdefault(name, ruleset)

    def kept_out(self, unit: str, ruleset: int) -> Reason | None:
        """Why a unit could not take part under a ruleset version: OVERRIDE, HOLDOUT or LAYER."""
        place = bisect_right(self._rulesets, ruleset)
        if place == 0:
            return None
        if self._by_hand and self._set_by_hand(unit, ruleset):
            return Reason.OVERRIDE
        compiled = self._compiled.get(place)
        for gate in self._compile(place) if compiled is None else compiled:
            answer = gate(unit)
            if answer is not None:
                return answer.reason
        return None

    def _set_by_hand(self, unit: str, ruleset: int) -> bool:
        """Whether the unit's arm was given by hand in this ruleset or before."""
        since = self._by_hand.get(keyed_hash(self._key, self._unit_type, unit))
        return since is not None and since <= ruleset

    def _compile(self, place: int) -> tuple[Gate, ...]:
        """Holdouts and layer in force."""
        gates = self._gates[place - 1]
        rules = SlotRules(
            slot="-",
            unit_type=self._unit_type,
            champion=_SERVED,
            holdouts=gates.holdouts,
            layer=gates.layer,
            rollout=_SPLIT,
        )
        compiled = Evaluator(rules, self._rulesets[place - 1]).gates
        self._compiled[place] = compiled
        return compiled
