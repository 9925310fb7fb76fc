"""An edit of a live rollout: other weights or another eligibility, and nobody changes arm.

The new allocation keeps the runs of the first and retires what would have to move, so
an arm can only shrink: a weight says which part of the enrolled traffic an arm shall keep. What is
retired sees the champion and is not analysed for the rest of the attempt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from controller.assignment.conditions import check_condition
from controller.assignment.hashing import BUCKETS
from controller.assignment.runs import Ranges, arm_shares, living, moves, retire
from controller.errors import InvalidInput
from controller.experiments.plans import CHAMPION, Plan
from controller.experiments.weights import read_weights
from controller.rollout.record import Allocation

BY_OPERATOR: Final = "dropped_by_operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What shall change.

    Attributes
    ----------
    weights : mapping of arm to float, or None
        Part of the enrolled traffic each living arm shall keep; None leaves them.
    eligible : mapping or None
        The condition from now on, where `sets_eligible`; None admits every unit.
    drops : mapping of arm to str
        Challengers that are given up, and why.
    """

    weights: Mapping[str, float] | None = None
    eligible: Mapping[str, Any] | None = None
    sets_eligible: bool = False
    drops: Mapping[str, str] = field(default_factory=dict)


def read_edit(
    plan: Plan,
    current: Allocation,
    *,
    weights: Any = None,
    eligible: Any = None,
    sets_eligible: bool = False,
) -> Edit:
    """Check what somebody asks for against the arms that are still in the rollout.

    Parameters
    ----------
    weights : mapping of arm to share, optional
        Of every arm that has not been dropped; 0 drops a challenger.

    Raises
    ------
    InvalidInput
        Naming the part, or if no challenger would be left.
    """
    condition = None if eligible is None else check_condition(eligible, "eligible")
    shares = None
    if weights is not None:
        shares = read_weights(weights, _arms(plan, current), "weights", zero=True)
    drops = {arm: BY_OPERATOR for arm, share in (shares or {}).items() if share == 0.0}
    return Edit(weights=shares, eligible=condition, sets_eligible=sets_eligible, drops=drops)


def dropping(reasons: Mapping[str, str]) -> Edit:
    """The edit that gives up some challengers and leaves everybody else where they are."""
    return Edit(drops=dict(reasons))


def only_drops(current: Allocation, edit: Edit) -> bool:
    """Whether an edit does nothing but give up challengers: no other unit loses its arm by it."""
    if not edit.drops or edit.sets_eligible:
        return False
    return _retired(current, edit) == _retired(current, dropping(edit.drops))


def survivors(plan: Plan, current: Allocation | None) -> tuple[str, ...]:
    """Challengers that have not been given up."""
    gone = current.dropped if current is not None else {}
    return tuple(arm for arm in plan.challengers if arm not in gone)


def _arms(plan: Plan, current: Allocation) -> tuple[str, ...]:
    return (CHAMPION, *survivors(plan, current))


def next_allocation(
    plan: Plan, current: Allocation, edit: Edit, *, opened_at: datetime, least: int = 1
) -> Allocation:
    """The allocation that an edit opens.

    Parameters
    ----------
    least : int
        The number it has at least (`flow/allocations.py`).

    Raises
    ------
    InvalidInput
        If it would leave no challenger, change nothing, or move a unit to another arm.
    """
    left = [arm for arm in survivors(plan, current) if arm not in edit.drops]
    if not left:
        raise InvalidInput(
            "weights: no challenger would be left; roll back instead.", field="weights"
        )
    retired = _retired(current, edit)
    eligible = edit.eligible if edit.sets_eligible else current.eligible
    if retired == current.retired and eligible == current.eligible:
        raise InvalidInput(
            "The edit changes nothing: an arm keeps the units it has or gives some up, it never "
            "gets more.",
            field="weights",
        )
    if moves(living(current.runs, current.retired), living(current.runs, retired)):
        raise InvalidInput("The edit would move units to another arm.", field="weights")
    shares = arm_shares(current.runs, retired)
    return replace(
        current,
        number=max(current.number + 1, least),
        weights={arm: float(share) for arm, share in shares.items()},
        retired=retired,
        opened_at=opened_at,
        eligible=eligible,
        dropped={**current.dropped, **edit.drops},
    )


def _retired(current: Allocation, edit: Edit) -> Ranges:
    """What is retired from now on: by the weights asked for, or of the arms that are dropped."""
    if edit.weights is not None:
        return retire(current.runs, current.retired, edit.weights)
    if not edit.drops:
        return current.retired
    kept = {arm: share for arm, share in current.weights.items() if arm not in edit.drops}
    return retire(current.runs, current.retired, kept)


def retired_share(allocation: Allocation) -> float:
    """Share of the enrolled traffic that is retired: champion, not analysed."""
    return sum(end - start for start, end in allocation.retired) / BUCKETS


def narrows(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> bool:
    """Whether an eligibility can only let in fewer units, as far as its form shows it.

    It does where there was none before, or where `after` is an ``and`` that holds all of `before`.
    """
    if before is None or after == before:
        return True
    parts = after.get("and") if after is not None else None
    if not isinstance(parts, list):
        return False
    held = before.get("and")
    return before in parts or (isinstance(held, list) and all(part in parts for part in held))
