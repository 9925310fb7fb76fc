"""The calendar of a planned rollout: stages, first evidence, decision, deadline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controller.experiments.policies import Policy
from controller.stats.calendar import RampStage, Span, Traffic, WaitsFor, openings
from controller.stats.feasibility import Forecast


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One date of the calendar, in days from the start.

    Attributes
    ----------
    name : str
        `stage`, `first_evidence`, `deciding`, `decision`, `no_difference`, `horizon` or `deadline`.
    opens : Span
    stage : int or None
        Counted from 1.
    enrolled, challenger_share : float or None
        Shares of the traffic, of a stage.
    approval : str or None
        The gate people have to open first.
    waited_for : str or None
        What the stage before lasts for: its dwell, exposed units, or complete units.
    """

    name: str
    opens: Span
    stage: int | None = None
    enrolled: float | None = None
    challenger_share: float | None = None
    approval: str | None = None
    waited_for: WaitsFor | None = None


def calendar(
    policy: Policy,
    stages: Sequence[RampStage],
    oec: Forecast,
    *,
    traffic: Traffic,
    treated: float,
    delay_days: float,
    limit_days: float,
) -> list[Step]:
    """Every date, soonest expected first; what never comes stands last.

    Parameters
    ----------
    policy : Policy
    stages : sequence of RampStage
        The policy's ramp in days and units.
    oec : Forecast
    traffic : Traffic
    treated : float
        Share of enrolled units that meet any challenger.
    delay_days : float
        From exposure to completeness of the OEC, whose complete units the gates count.
    limit_days : float
    """

    def opening(index: int) -> Span:
        return traffic.span(
            lambda daily: openings(stages, daily=daily, delay_days=delay_days)[index].days
        )

    waits = [
        one.waits_for for one in openings(stages, daily=traffic.expected, delay_days=delay_days)
    ]
    steps = [
        Step(
            name="stage",
            opens=opening(index - 1) if index else _at(0.0),
            stage=index + 1,
            enrolled=stage.enrolled,
            challenger_share=stage.enrolled * treated,
            approval=stage.approval,
            waited_for=waits[index - 1] if index else None,
        )
        for index, stage in enumerate(policy.ramp)
    ]
    steps += [
        Step(name="first_evidence", opens=oec.first_look),
        Step(name="deciding", opens=opening(-1), waited_for=waits[-1]),
        Step(name="decision", opens=oec.decision),
        Step(name="no_difference", opens=oec.no_effect),
        Step(name="horizon", opens=oec.end),
        Step(name="deadline", opens=_at(limit_days)),
    ]
    return sorted(steps, key=lambda step: step.opens.expected)


def _at(days: float) -> Span:
    return Span(soonest=days, expected=days, latest=days)
