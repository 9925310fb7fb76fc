"""A rollout lived through without the service: traffic and a policy in, how it ends out.

A `Traffic` is what one seed makes of real data: who is enrolled at which share, who meets the
challenger, what every unit was worth. `decide` lives through it second by second under the slot's
real policy, with the product's own statistics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from controller.assignment.hashing import PPM
from controller.experiments.policies import Policy
from controller.stats.group_sequential import SequentialPlan, TakenLook, next_look
from controller.stats.mixture import from_score
from controller.stats.results import Inconclusive
from controller.stats.score import (
    ArmMoments,
    EpochMoments,
    Null,
    Score,
    planned_size,
    score,
    variance_ratio,
)

STEP_SECONDS: Final = 1.0

Verdict = Literal["PROMOTE", "ROLLBACK", "NO_DIFFERENCE"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delays:
    """What the service adds to the application's own delays, in seconds of the demo's clock.

    Attributes
    ----------
    maturing : float
        From an exposure to its complete value: window, lateness, and the service's own work.
    reacting : float
        From a fulfilled stage to the first unit enrolled at the next share.
    """

    maturing: float = 6.0
    reacting: float = 1.5


QUIET_MACHINE: Final = Delays()


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Units in order of exposure; every array has shape (n_units,).

    Attributes
    ----------
    second : ndarray of float64
        Of the exposure, on the demo's clock; never falls.
    enrolment : ndarray of int64
        In [0, 1e6): the unit is enrolled while this lies below the enrolled share in ppm.
    challenger : ndarray of bool
        The arm, if enrolled.
    value : ndarray of float64
        The outcome under that arm; NaN where it never becomes known.
    better : {1, -1}
        1 where a larger value is better.
    """

    second: NDArray[np.float64]
    enrolment: NDArray[np.int64]
    challenger: NDArray[np.bool_]
    value: NDArray[np.float64]
    better: Literal[1, -1]


@dataclass(frozen=True, slots=True, kw_only=True)
class LookTaken:
    """One look as the page would draw it; `z` is positive where the challenger is better."""

    second: float
    units: int
    t: float
    z: float
    bound: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a slot's rollout ended.

    Attributes
    ----------
    verdict : str
    reason : str
        `oec_shown`, `oec_worse`, `guardrail_harm` or `horizon_not_reached`.
    second : float
        On the demo's clock.
    stage : int
        Index into the ramp.
    units : int
        Complete units analysed by then.
    looks : tuple of LookTaken
        The looks of the deciding metric.
    """

    verdict: Verdict
    reason: str
    second: float
    stage: int
    units: int
    looks: tuple[LookTaken, ...]


def decide(
    traffic: Traffic,
    policy: Policy,
    *,
    costly_margin: float | None = None,
    delays: Delays = QUIET_MACHINE,
) -> Ending:
    """Live through the traffic under a policy until evidence or the end decides.

    Parameters
    ----------
    traffic : Traffic
    policy : Policy
        Of which the ramp, the rules of the OEC and of the guardrails are used.
    costly_margin : float, optional
        Margin of a guardrail on the share of units whose value is not zero; none if not given.
    """
    rehearsal = _Rehearsal(traffic, policy, costly_margin, delays)
    last = float(traffic.second[-1]) + delays.maturing + 2 * STEP_SECONDS
    second = STEP_SECONDS
    while second <= last:
        ending = rehearsal.step(second)
        if ending is not None:
            return ending
        second += STEP_SECONDS
    return rehearsal.ending("NO_DIFFERENCE", "horizon_not_reached", last)


class _Epoch:
    """Known, enrolled units of one stage as running sums, asked for any moment."""

    def __init__(self, traffic: Traffic, enrolled: float, begins: float) -> None:
        chosen = (traffic.second >= begins) & (traffic.enrolment < round(enrolled * PPM))
        self.begins, self.ends = begins, np.inf
        self._exposed = traffic.second[chosen]
        known = chosen & ~np.isnan(traffic.value)
        self._second = traffic.second[known]
        value, meets = traffic.value[known], traffic.challenger[known]
        self._sums = {
            side: tuple(
                np.concatenate([[0.0], np.cumsum(np.where(meets == side, part, 0.0))])
                for part in (np.ones_like(value), value, value * value, value != 0)
            )
            for side in (False, True)
        }

    def exposed(self, second: float) -> int:
        """Units exposed by a moment."""
        return int(np.searchsorted(self._exposed, min(second, self.ends)))

    def complete(self, second: float) -> int:
        """Known units exposed by a moment."""
        return int(np.searchsorted(self._second, min(second, self.ends)))

    def moments(self, number: int, second: float) -> EpochMoments:
        """Both arms' complete units, exposed by a moment."""
        upto = self.complete(second)
        return EpochMoments(
            epoch=number, control=self._arm(False, upto), treatment=self._arm(True, upto)
        )

    def _arm(self, challenger: bool, upto: int) -> ArmMoments:
        n, total, squares, nonzero = (float(part[upto]) for part in self._sums[challenger])
        mean = total / n if n else 0.0
        return ArmMoments(n=int(n), mean=mean, m2=squares - n * mean * mean, nonzero=int(nonzero))


class _Rehearsal:
    """The state of one rollout between two steps of the clock."""

    def __init__(
        self, traffic: Traffic, policy: Policy, costly_margin: float | None, delays: Delays
    ) -> None:
        assert policy.oec.horizon is not None
        self._traffic, self._policy, self._margin = traffic, policy, costly_margin
        self._delays = delays
        self._epochs = [_Epoch(traffic, policy.ramp[0].enrolled, 0.0)]
        self._plan = SequentialPlan(alpha=policy.oec.alpha)
        self._full = planned_size(policy.oec.horizon, 0.5, 0.5)
        self._taken: list[TakenLook] = []
        self._counts: dict[int, tuple[int, int]] = {}
        self._size = 0.0
        self._looks: list[LookTaken] = []
        self._units = 0

    def step(self, second: float) -> Ending | None:
        """One second: look, judge, and open the next stage where the policy allows."""
        complete = second - self._delays.maturing
        moments = [epoch.moments(number, complete) for number, epoch in enumerate(self._epochs)]
        self._units = sum(m.control.n + m.treatment.n for m in moments)
        if self._margin is not None and self._harmed(moments, self._margin):
            return self.ending("ROLLBACK", "guardrail_harm", second)
        self._look(moments, second)
        if self._looks and self._looks[-1].z <= -self._looks[-1].bound:
            return self.ending("ROLLBACK", "oec_worse", second)
        if self._looks and self._looks[-1].z >= self._looks[-1].bound:
            return self.ending("PROMOTE", "oec_shown", second)
        if len(self._epochs) < len(self._policy.ramp) and self._fulfilled(second):
            self._open_next(second + self._delays.reacting)
        return None

    def ending(self, verdict: Verdict, reason: str, second: float) -> Ending:
        """The record of how it ended."""
        return Ending(
            verdict=verdict,
            reason=reason,
            second=second,
            stage=len(self._epochs) - 1,
            units=self._units,
            looks=tuple(self._looks),
        )

    def _look(self, moments: list[EpochMoments], second: float) -> None:
        now = score(moments)
        if isinstance(now, Inconclusive) or not self._due(now):
            return
        ratio = variance_ratio(self._counts, now) if self._taken else 0.0
        time = min(now.size / self._full, 1.0)
        taken = next_look(self._plan, self._taken, spending_time=time, variance_ratio=ratio)
        self._taken.append(taken)
        self._counts, self._size = now.counts, now.size
        look = LookTaken(
            second=second,
            units=self._units,
            t=time,
            z=self._traffic.better * now.z,
            bound=taken.critical_value,
        )
        self._looks.append(look)

    def _due(self, now: Score) -> bool:
        if not self._taken:
            return now.size >= self._policy.oec.first_look * self._full
        grown = now.size - self._size
        return grown >= self._full / 200.0 or (now.size >= self._full > self._size)

    def _harmed(self, moments: list[EpochMoments], margin: float) -> bool:
        rules = self._policy.guardrails
        worse_side = -self._traffic.better
        now = score([_share_nonzero(m) for m in moments], null=Null(shift=worse_side * margin))
        if isinstance(now, Inconclusive):
            return False
        alarm = from_score(
            worse_side * now.score,
            now.variance,
            size=now.size,
            tuning=planned_size(rules.horizon or self._policy.oec.horizon or 1, 0.5, 0.5),
            alpha=rules.harm_alpha,
            alternative="larger",
        )
        return not isinstance(alarm, Inconclusive) and alarm.p_value <= rules.harm_alpha

    def _fulfilled(self, second: float) -> bool:
        stage, current = self._policy.ramp[len(self._epochs) - 1], self._epochs[-1]
        return (
            second - current.begins >= stage.dwell_seconds
            and current.exposed(second) >= stage.min_units
            and current.complete(second - self._delays.maturing) >= stage.min_matured
        )

    def _open_next(self, second: float) -> None:
        self._epochs[-1].ends = second
        enrolled = self._policy.ramp[len(self._epochs)].enrolled
        self._epochs.append(_Epoch(self._traffic, enrolled, second))


def _share_nonzero(moments: EpochMoments) -> EpochMoments:
    """The same units as a binary metric: whether the value is not zero."""

    def binary(arm: ArmMoments) -> ArmMoments:
        share = arm.nonzero / arm.n if arm.n else 0.0
        m2 = arm.n * share * (1.0 - share)
        return ArmMoments(n=arm.n, mean=share, m2=m2, nonzero=arm.nonzero)

    return EpochMoments(
        epoch=moments.epoch, control=binary(moments.control), treatment=binary(moments.treatment)
    )
