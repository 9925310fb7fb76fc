"""Planning: duration, power and feasibility in one call."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from controller.errors import BaselineUnknown, InvalidInput, NotFound, PolicyNotAllowed
from controller.flow.actors import Scope
from controller.flow.planning import Outlook, plan_rollout
from controller.service.http.calls import Call
from controller.service.http.router import Route, service
from controller.service.http.runtime import WebRuntime
from controller.stats.feasibility import Forecast, Traffic

PerDay = Annotated[float, Meta(ge=0.0, le=1e12)]


class TrafficRange(Struct, forbid_unknown_fields=True):
    """New eligible units a day."""

    low: PerDay
    expected: PerDay
    high: PerDay


class PlanRequest(Struct, forbid_unknown_fields=True):
    """What is planned: a rollout in this slot, with so many new eligible units a day."""

    slot: Annotated[str, Meta(min_length=1, max_length=64)]
    traffic: PerDay | TrafficRange
    policy: Annotated[str, Meta(max_length=64)] | None = None
    challengers: Annotated[int, Meta(ge=1, le=8)] = 1


class Days(Struct):
    """Days from the start: with the most, the expected and the least traffic; null = never."""

    soonest: float
    expected: float
    latest: float


class Claim(Struct):
    """What will happen to one thing that has to be shown.

    `mde_curve` holds (day, smallest effect found by its end). `traffic_factor` says how many times
    the traffic would do within the limit, `days_needed` which limit would.
    """

    metric: str
    role: str
    units: int
    first_look: Days
    decision: Days
    end: Days
    power_at_limit: float
    effect_at_limit: float
    feasible: bool
    days_needed: float
    traffic_factor: float
    mde_curve: list[tuple[int, float]]


class PlanAnswer(Struct):
    """Whether it can decide, and when; `advice` says what would make it feasible."""

    slot: str
    policy: str
    policy_version: int
    limit_days: float
    feasible: bool
    advice: list[str]
    claims: list[Claim]
    unknown: dict[str, str]


def plan_routes(runtime: WebRuntime) -> list[Route]:
    """`POST /v1/plans`."""

    def plan(call: Call) -> Any:
        asked: PlanRequest = call.body
        return shown(
            plan_rollout(
                runtime.store,
                call.project,
                slot=asked.slot,
                policy=asked.policy,
                challengers=asked.challengers,
                traffic=_traffic(asked.traffic),
            )
        )

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
    return PlanAnswer(
        slot=outlook.slot,
        policy=outlook.policy.name,
        policy_version=outlook.policy.version,
        limit_days=outlook.limit_days,
        feasible=outlook.feasible,
        advice=[_advice(one, outlook.limit_days) for one in claims if not one.feasible],
        claims=claims,
        unknown=dict(outlook.unknown),
    )


def _traffic(given: float | TrafficRange) -> Traffic:
    if isinstance(given, TrafficRange):
        return Traffic(low=given.low, expected=given.expected, high=given.high)
    return Traffic(low=given, expected=given, high=given)


def _claim(one: Forecast, role: str) -> Claim:
    spans = [
        Days(soonest=span.soonest, expected=span.expected, latest=span.latest)
        for span in (one.first_look, one.decision, one.end)
    ]
    return Claim(
        metric=one.key,
        role=role,
        units=one.units,
        first_look=spans[0],
        decision=spans[1],
        end=spans[2],
        power_at_limit=one.power_at_limit,
        effect_at_limit=one.effect_at_limit,
        feasible=one.feasible,
        days_needed=one.days_needed,
        traffic_factor=one.traffic_factor,
        mde_curve=[(day, effect) for day, effect in one.mde_curve],
    )


def _advice(claim: Claim, limit_days: float) -> str:
    return (
        f"{claim.metric}: {claim.units:,} units are needed, which takes {claim.days_needed:,.1f} "
        f"of {limit_days:,.1f} days. Any of these would do: {claim.traffic_factor:,.1f} times the "
        f"traffic, or looking for no less than {claim.effect_at_limit:.4g}."
    )
