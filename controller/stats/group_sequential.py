"""Planned tests: exact group-sequential critical values, found one look at a time.

A `SequentialPlan` is fixed before the data. Each look then adds one `TakenLook`: the critical value
at which exactly the error released since the last look is spent, given every critical value before
it. The sequence of taken looks is the whole state of a test (four numbers a look), stored with the
evidence; a `Trail` is derived from it and only kept, so a look taken by a process that has just
started equals one taken by a process that kept the trail to the bit.

Two clocks stay separate. The *spending time* releases alpha: the share t = W / W_max of the planned
effective size. The *variance ratio* V_prev / V_now is the squared correlation between neighbouring
looks, from whatever variances the data have shown. With equal variances everywhere they agree.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from controller.errors import InvalidInput
from controller.stats.chain import Passage, Trail
from controller.stats.recursion import Step, value_exceeded_with
from controller.stats.spending import Spending

Sides = Literal[1, 2]


@dataclass(frozen=True, slots=True, kw_only=True)
class SequentialPlan:
    """What is fixed before the first look.

    Attributes
    ----------
    alpha : float
        Error of the whole test: over both sides if `sides` is 2, in (0, 1).
    sides : {1, 2}
        1 rejects for large z only; 2 for large |z|, each side spending alpha / 2.
    spending : Spending
        Shape of the release; Hwang-Shih-DeCani(-2) unless the plan says otherwise.
    """

    alpha: float
    sides: Sides = 2
    spending: Spending = field(default_factory=Spending)

    def __post_init__(self) -> None:
        if not 0.0 < self.alpha < 1.0:
            raise InvalidInput("alpha must lie in (0, 1)", field="alpha")
        if self.sides not in (1, 2):
            raise InvalidInput("sides is 1 or 2", field="sides")


class TakenLook(NamedTuple):
    """One look of a planned test.

    Attributes
    ----------
    spending_time : float
        t = min(W / W_max, 1), in (0, 1], rising from look to look.
    variance_ratio : float
        V of the look before / V now, both with today's variances; 0 at the first look.
    alpha_spent : float
        Cumulative, over both sides of a two-sided plan.
    critical_value : float
        The test crosses when z (two-sided: |z|) reaches it; inf if nothing could be spent.
    """

    spending_time: float
    variance_ratio: float
    alpha_spent: float
    critical_value: float


def next_look(
    plan: SequentialPlan,
    taken: Sequence[TakenLook],
    *,
    spending_time: float,
    variance_ratio: float,
    trail: Trail | None = None,
) -> TakenLook:
    """The critical value of the next look, given the looks already taken.

    Parameters
    ----------
    plan : SequentialPlan
    taken : sequence of TakenLook
        Every earlier look, in order.
    spending_time : float
        min(W / W_max, 1) of this look. At 1 everything that is left is spent: an over-running last
        look needs nothing else.
    variance_ratio : float
        V_prev / V_now in [0, 1); 0 if and only if this is the first look.
    trail : Trail, optional
        `null_trail` of the looks taken, where it has been kept; derived if not given. Of `taken`
        only the last look is then read.

    Returns
    -------
    TakenLook

    Raises
    ------
    InvalidInput
        If the clock does not rise or the ratio lies outside its range.

    References
    ----------
    .. [1] Armitage, McPherson and Rowe (1969), JRSS A 132(2), eq. for the sub-density.
    .. [2] Lan and DeMets (1983), Biometrika 70(3): P(cross first at look k) = alpha(t_k) -
       alpha(t_{k-1}).
    """
    previous = taken[-1] if taken else None
    _check_clock(previous, spending_time, variance_ratio)
    spent = plan.spending.spent_at(spending_time, alpha=plan.alpha / plan.sides)
    before = previous.alpha_spent / plan.sides if previous else 0.0
    known = null_trail(plan, taken) if trail is None else trail
    critical = value_exceeded_with(
        known.density(variance_ratio),
        Step(variance_ratio=variance_ratio),
        max(spent - before, 0.0),
        near=previous.critical_value if previous else None,
    )
    return TakenLook(
        spending_time=spending_time,
        variance_ratio=variance_ratio,
        alpha_spent=plan.sides * max(spent, before),
        critical_value=critical,
    )


def boundaries(
    plan: SequentialPlan,
    information: ArrayLike,
    *,
    spending_time: ArrayLike | None = None,
) -> tuple[TakenLook, ...]:
    """Critical values of a whole schedule of looks.

    Parameters
    ----------
    plan : SequentialPlan
    information : array_like, shape (n_looks,)
        Variance of the score at each look in any unit, strictly rising; usually the fractions.
    spending_time : array_like, shape (n_looks,), optional
        Clock of the spending function, in (0, 1]; `information` itself, cut at 1, if not given.

    Returns
    -------
    tuple of TakenLook
    """
    variances = np.atleast_1d(np.asarray(information, dtype=np.float64))
    times = (
        np.minimum(variances, 1.0)
        if spending_time is None
        else np.atleast_1d(np.asarray(spending_time, dtype=np.float64))
    )
    if times.shape != variances.shape:
        raise InvalidInput("one spending time a look", field="spending_time")
    taken: list[TakenLook] = []
    trail, before = Trail(), 0.0
    for variance, time in zip(variances.tolist(), times.tolist(), strict=True):
        ratio = before / variance if variance > 0.0 else math.nan
        look = next_look(plan, taken, spending_time=time, variance_ratio=ratio, trail=trail)
        taken.append(look)
        trail, before = trail.then(null_passage(plan, look)), variance
    return tuple(taken)


def null_passage(plan: SequentialPlan, look: TakenLook) -> Passage:
    """What a look lets through under the null."""
    return Passage(
        variance_ratio=look.variance_ratio,
        mean=0.0,
        low=-look.critical_value if plan.sides == 2 else -math.inf,
        high=look.critical_value,
    )


def null_trail(plan: SequentialPlan, taken: Sequence[TakenLook]) -> Trail:
    """The null trail of the looks taken, derived from the first on."""
    return Trail.of(null_passage(plan, look) for look in taken)


def _check_clock(previous: TakenLook | None, spending_time: float, ratio: float) -> None:
    if not 0.0 < spending_time <= 1.0:
        raise InvalidInput("spending_time lies in (0, 1]", field="spending_time")
    if previous is not None and spending_time < previous.spending_time:
        raise InvalidInput("the spending clock never falls", field="spending_time")
    if not 0.0 <= ratio < 1.0:
        raise InvalidInput("information rises: variance_ratio in [0, 1)", field="variance_ratio")
    if (previous is None) != (ratio == 0.0):
        raise InvalidInput(
            "variance_ratio is 0 at the first look and only there", field="variance_ratio"
        )
