"""Planning: duration, power and feasibility in one call."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

from msgspec import Meta, Struct, field

from controller.errors import BaselineUnknown, InvalidInput, NotFound, PolicyNotAllowed
from controller.experiments.metrics import Baseline
from controller.flow.actors import Scope
from controller.flow.calendar import Step
from controller.flow.planning import Outlook, Question, plan_rollout
from controller.service.http.calls import Call
from controller.service.http.router import Route, service
from controller.service.http.runtime import WebRuntime
from controller.stats.calendar import Span, Traffic
from controller.stats.feasibility import Forecast

PerDay = Annotated[float, Meta(ge=0.0, le=1e12)]


class TrafficRange(Struct, forbid_unknown_fields=True):
    """New eligible units a day."""

    low: PerDay
    expected: PerDay
    high: PerDay


class StatedBaseline(Struct, forbid_unknown_fields=True):
    """Mean and standard deviation of one unit."""

    mean: Annotated[float, Meta(ge=-1e300, le=1e300)]
    sd: Annotated[float, Meta(gt=0.0, le=1e150)]


class PlanRequest(Struct, forbid_unknown_fields=True):
    """What is planned: a rollout in this slot.

    `traffic` is new eligible units a day; without it, what the slot at rest has shown. `baselines`
    go before what metrics state and what was observed. The calendar counts from `start` (today).
    """

    slot: Annotated[str, Meta(min_length=1, max_length=64)]
    traffic: PerDay | TrafficRange | None = None
    policy: Annotated[str, Meta(max_length=64)] | None = None
    challengers: Annotated[int, Meta(ge=1, le=8)] = 1
    weights: dict[str, float | str] | None = None
    baselines: dict[str, StatedBaseline] = field(default_factory=dict)
    start: date | None = None


class Days(Struct):
    """Days from the start: with the most, the expected and the least traffic; null = never."""

    soonest: float
    expected: float
    latest: float


class Date(Struct):
    """One step of the calendar: days from the start, and the dates they fall on (null = never)."""

    step: str
    days: Days
    soonest: date | None
    expected: date | None
    latest: date | None
    stage: int | None
    enrolled: float | None
    challenger_share: float | None
    approval: str | None
    waited_for: str | None


class Claim(Struct):
    """What will happen to one thing that has to be shown.

    `decision` is the mean end if the effect is there, `no_effect` if there is none.
    `mde_curve` holds (day, smallest effect found by its end). `traffic_factor` says how many times
    the traffic would do within the limit, `days_needed` which limit would.
    """

    metric: str
    role: str
    units: int
    first_look: Days
    decision: Days
    no_effect: Days
    end: Days
    power_at_limit: float
    effect_at_limit: float
    feasible: bool
    days_needed: float
    traffic_factor: float
    mde_curve: list[tuple[int, float]]


class PlanAnswer(Struct):
    """Whether it can decide, and when.

    `advice` says what would make it feasible, `warnings` what the plan leaves unguarded.
    """

    slot: str
    policy: str
    policy_version: int
    limit_days: float
    feasible: bool
    advice: list[str]
    warnings: list[str]
    start: date
    traffic: TrafficRange
    traffic_observed: bool
    calendar: list[Date]
    claims: list[Claim]
    baselines: dict[str, StatedBaseline]
    unknown: dict[str, str]


def plan_routes(runtime: WebRuntime) -> list[Route]:
    """`POST /v1/plans`."""

    def plan(call: Call) -> Any:
        asked: PlanRequest = call.body
        return shown(plan_rollout(runtime.store, call.project, _question(asked)))

    return [
        Route(
            method="POST",
            path="/v1/plans",
            name="plan",
            summary="Duration, power and feasibility of a rollout before it starts",
            access=service(Scope.READ),
            handler=plan,
            reads="json",
            body=PlanRequest,
            answer=PlanAnswer,
            errors=(InvalidInput, NotFound, PolicyNotAllowed, BaselineUnknown),
        )
    ]


def shown(outlook: Outlook) -> PlanAnswer:
    """An outlook on the wire."""
    claims = [_claim(outlook.oec, "oec"), *(_claim(one, "guardrail") for one in outlook.guardrails)]
    traffic = outlook.traffic
    return PlanAnswer(
        slot=outlook.slot,
        policy=outlook.policy.name,
        policy_version=outlook.policy.version,
        limit_days=outlook.limit_days,
        feasible=outlook.feasible,
        advice=_advice(outlook, claims),
        warnings=list(outlook.warnings),
        start=outlook.start.date(),
        traffic=TrafficRange(low=traffic.low, expected=traffic.expected, high=traffic.high),
        traffic_observed=outlook.traffic_observed,
        calendar=[_date(step, outlook.start) for step in outlook.calendar],
        claims=claims,
        baselines={
            key: StatedBaseline(mean=one.mean, sd=one.sd) for key, one in outlook.baselines.items()
        },
        unknown=dict(outlook.unknown),
    )


def _question(asked: PlanRequest) -> Question:
    start = asked.start
    return Question(
        slot=asked.slot,
        policy=asked.policy,
        challengers=asked.challengers,
        traffic=None if asked.traffic is None else _traffic(asked.traffic),
        baselines={key: Baseline(mean=one.mean, sd=one.sd) for key, one in asked.baselines.items()},
        weights=asked.weights,
        start=None if start is None else datetime(start.year, start.month, start.day, tzinfo=UTC),
    )


def _traffic(given: float | TrafficRange) -> Traffic:
    if isinstance(given, TrafficRange):
        return Traffic(low=given.low, expected=given.expected, high=given.high)
    return Traffic(low=given, expected=given, high=given)


def _days(span: Span) -> Days:
    return Days(soonest=span.soonest, expected=span.expected, latest=span.latest)


def _date(step: Step, start: datetime) -> Date:
    days = step.opens
    return Date(
        step=step.name,
        days=_days(days),
        soonest=_on(start, days.soonest),
        expected=_on(start, days.expected),
        latest=_on(start, days.latest),
        stage=step.stage,
        enrolled=step.enrolled,
        challenger_share=step.challenger_share,
        approval=step.approval,
        waited_for=step.waited_for,
    )


def _on(start: datetime, days: float) -> date | None:
    """The date so many days on; None for never, and for what the calendar cannot name."""
    try:
        return (start + timedelta(days=days)).date()
    except OverflowError:
        return None


def _claim(one: Forecast, role: str) -> Claim:
    return Claim(
        metric=one.key,
        role=role,
        units=one.units,
        first_look=_days(one.first_look),
        decision=_days(one.decision),
        no_effect=_days(one.no_effect),
        end=_days(one.end),
        power_at_limit=one.power_at_limit,
        effect_at_limit=one.effect_at_limit,
        feasible=one.feasible,
        days_needed=one.days_needed,
        traffic_factor=one.traffic_factor,
        mde_curve=[(day, effect) for day, effect in one.mde_curve],
    )


def _advice(outlook: Outlook, claims: list[Claim]) -> list[str]:
    """What would make the plan feasible, and what it costs where it is."""
    said = [_would_do(one, outlook.limit_days) for one in claims if not one.feasible]
    said += [f"{key}: {why}" for key, why in outlook.unknown.items()]
    if outlook.split_cost > 1.01:
        said.append(
            f"weights: this split needs {outlook.split_cost:,.2f} times the units that equal parts "
            "would."
        )
    return said


def _would_do(claim: Claim, limit_days: float) -> str:
    return (
        f"{claim.metric}: {claim.units:,} units are needed, which takes {claim.days_needed:,.1f} "
        f"of {limit_days:,.1f} days. Any of these would do: {claim.traffic_factor:,.1f} times the "
        f"traffic, or looking for no less than {claim.effect_at_limit:.4g}."
    )
