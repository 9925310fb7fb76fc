"""When a planned test has become hopeless: non-binding futility by beta spending.

A claim is hopeless at a look when a challenger with the design effect would have a statistic this
low only with the share of beta released by now. Efficacy bounds are computed as if futility did not
exist, so going on in spite of it keeps alpha: it advises, it does not bind (Pampallona, Tsiatis and
Kim 2001, "Interim monitoring of group sequential trials using spending functions for the type I and
type II error probabilities", Drug Information Journal 35).

A two-sided test stops when *both* claims are hopeless. "Better" is guarded with beta, the power the
design promises. "Worse" is guarded with a larger beta: a challenger as bad as the design effect is
still called worse in about .7 of runs and one twice as bad in .999, while a test without any
effect ends after .59 of the horizon instead of .68.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from scipy.special import ndtri

from controller.errors import InvalidInput
from controller.stats.chain import Passage, Trail
from controller.stats.group_sequential import SequentialPlan, TakenLook
from controller.stats.recursion import Step, value_undercut_with
from controller.stats.spending import Spending

BETA_WORSE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class FutilityPlan:
    """How hope is given up.

    Attributes
    ----------
    drift : float
        Mean of z at the end of the planned information under the design effect, > 0.
    beta : float
        Probability of giving up the claim "better" although the design effect is real.
    beta_worse : float
        The same for the claim "worse" of a two-sided plan.
    spending : Spending
        How beta is released.
    """

    drift: float
    beta: float = 0.1
    beta_worse: float = BETA_WORSE
    spending: Spending = field(default_factory=Spending)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.drift) and self.drift > 0.0):
            raise InvalidInput("drift is positive and finite", field="drift")
        if not (0.0 < self.beta < 1.0 and 0.0 < self.beta_worse < 1.0):
            raise InvalidInput("beta lies in (0, 1)", field="beta")


@dataclass(frozen=True, slots=True, kw_only=True)
class FutilityLook:
    """Where one look gives up.

    Attributes
    ----------
    better_below : float
        The claim "better" is hopeless when z falls below; never above the critical value.
    worse_above : float
        The claim "worse" is hopeless when z rises above; -inf for a one-sided plan, which has no
        such claim.
    """

    better_below: float
    worse_above: float

    def stops(self, z: float) -> bool:
        """Whether nothing is left to hope for."""
        return self.worse_above < z < self.better_below


def design_drift(plan: SequentialPlan, *, power: float) -> float:
    """Drift that a fixed test of the same alpha detects with `power`: z_{alpha/sides} + z_{power}.

    The horizon of a plan is at least that of the fixed test, so at the horizon the design effect
    has this drift or a larger one, and the bounds give up no earlier than beta allows.
    """
    if not plan.alpha / plan.sides < power < 1.0:
        raise InvalidInput("power lies in (alpha / sides, 1)", field="power")
    return float(ndtri(power) - ndtri(plan.alpha / plan.sides))


@dataclass(frozen=True, slots=True)
class FutilityTrails:
    """Where the statistic is under the design effect, better or worse, given that hope goes on."""

    better: Trail = field(default_factory=Trail)
    worse: Trail = field(default_factory=Trail)

    def then(
        self, plan: SequentialPlan, futility: FutilityPlan, look: TakenLook, hopeless: FutilityLook
    ) -> FutilityTrails:
        """Both trails with one more look."""
        better = self.better.then(_passage(plan, futility, look, hopeless.better_below))
        if plan.sides == 1:
            return FutilityTrails(better)
        # The claim "worse" is its own mirror image.
        return FutilityTrails(
            better, self.worse.then(_passage(plan, futility, look, -hopeless.worse_above))
        )


def futility_trails(
    plan: SequentialPlan,
    futility: FutilityPlan,
    taken: Sequence[TakenLook],
    given_up: Sequence[FutilityLook],
) -> FutilityTrails:
    """The trails of the looks taken, derived from the first on."""
    trails = FutilityTrails()
    for look, hopeless in zip(taken, given_up, strict=True):
        trails = trails.then(plan, futility, look, hopeless)
    return trails


def next_futility(
    plan: SequentialPlan,
    futility: FutilityPlan,
    taken: Sequence[TakenLook],
    given_up: Sequence[FutilityLook],
    look: TakenLook,
    *,
    trails: FutilityTrails | None = None,
) -> FutilityLook:
    """Where the look just taken gives up.

    Parameters
    ----------
    plan, futility
        Fixed before the data.
    taken, given_up : sequences of equal length
        Every earlier look.
    look : TakenLook
        This look, from `next_look`.
    trails : FutilityTrails, optional
        `futility_trails` of the earlier looks, where they have been kept; derived if not given.
        Of the looks only the last is then read.

    Returns
    -------
    FutilityLook
    """
    if len(taken) != len(given_up):
        raise InvalidInput("one futility look for every look taken", field="given_up")
    known = trails or futility_trails(plan, futility, taken, given_up)
    time = taken[-1].spending_time if taken else 0.0
    last = given_up[-1] if given_up else None
    better = _hopeless_below(
        futility,
        known.better,
        look,
        beta=futility.beta,
        since=time,
        near=last.better_below if last else None,
    )
    if plan.sides == 1:
        return FutilityLook(better_below=better, worse_above=-math.inf)
    worse = _hopeless_below(
        futility,
        known.worse,
        look,
        beta=futility.beta_worse,
        since=time,
        near=-last.worse_above if last else None,
    )
    return FutilityLook(better_below=better, worse_above=-worse)


def _passage(plan: SequentialPlan, futility: FutilityPlan, look: TakenLook, low: float) -> Passage:
    """What a look lets through under the drift."""
    return Passage(
        variance_ratio=look.variance_ratio,
        mean=futility.drift * math.sqrt(look.spending_time),
        low=max(low, -look.critical_value) if plan.sides == 2 else low,
        high=look.critical_value,
    )


def _hopeless_below(
    futility: FutilityPlan,
    trail: Trail,
    look: TakenLook,
    *,
    beta: float,
    since: float,
    near: float | None,
) -> float:
    """f with P(reach this look, Z < f) = beta released since the last, under the drift."""
    if look.spending_time >= 1.0:
        return look.critical_value
    spent = futility.spending.spent_at(look.spending_time, alpha=beta)
    before = futility.spending.spent_at(since, alpha=beta) if since > 0.0 else 0.0
    step = Step(
        variance_ratio=look.variance_ratio,
        mean=futility.drift * math.sqrt(look.spending_time),
    )
    value = value_undercut_with(
        trail.density(look.variance_ratio), step, max(spent - before, 0.0), near=near
    )
    return min(value, look.critical_value)
