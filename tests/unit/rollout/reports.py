"""Look reports made by hand: what a judge may be shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from controller.aggregation.statistics import Moments, Statistics
from controller.analysis.report import (
    ArmSummary,
    Claim,
    Comparison,
    Crossing,
    Held,
    Interval,
    LookReport,
    MetricReport,
    MetricVerdict,
    SrmReport,
    Test,
)
from controller.experiments.plans import Plan
from controller.rollout.judgement import Facts
from controller.rollout.states import State

NOW = "2026-01-05T09:00:00+00:00"


def facts(**changes: Any) -> Facts:
    usual: dict[str, Any] = {
        "state": State.RAMPING,
        "epoch": 1,
        "exposed_seconds": 86_400.0,
        "killed": False,
        "champion_changed": False,
    }
    return Facts(**usual | changes)


def comparison(
    verdict: MetricVerdict = MetricVerdict.INCONCLUSIVE,
    *,
    arm: str = "challenger",
    reason: str = "keep_collecting",
    estimate: float | None = 0.01,
    claim: Claim = Claim.SUPERIOR,
    crossed: Literal["better", "worse", "futile", "not_worse", "harm", "ended"] | None = None,
) -> Comparison:
    latched = (
        None
        if crossed is None
        else Crossing(look=1, taken_at=NOW, n=100, direction=crossed, estimate=estimate)
    )
    test = Test(
        claim=claim, mode="planned", look=1, t=0.2, z=1.0, bound=2.5, alpha=0.05, crossed=latched
    )
    return Comparison(
        arm=arm,
        verdict=verdict,
        reason=reason,
        estimate=estimate,
        interval=Interval(low=-0.01, high=0.03, level=0.95),
        relative=None,
        relative_interval=None,
        margin=None,
        tests=(test,),
    )


def metric(
    key: str,
    role: Literal["oec", "guardrail"],
    *comparisons: Comparison,
    fresh: bool = True,
    age: float | None = 1.0,
    held: Mapping[str, Held] | None = None,
) -> MetricReport:
    arm = ArmSummary(n=100, missing=0, open=0, mean=0.5, sd=0.5)
    return MetricReport(
        key=key,
        role=role,
        arms={"champion": arm, "challenger": arm},
        comparisons=tuple(comparisons),
        fresh=fresh,
        age_seconds=age,
        held=held or {},
    )


def report(
    plan: Plan,
    metrics: Sequence[MetricReport],
    *,
    srm: bool = False,
    excluded: Mapping[str, int] | None = None,
    exposed: Mapping[tuple[int, str], int] | None = None,
    moments: Mapping[tuple[str, int, str], Moments] | None = None,
) -> LookReport:
    counted = exposed or {(1, "champion"): 100, (1, "challenger"): 100}
    return LookReport(
        number=1,
        plan_sha256=plan.sha256,
        statistics=Statistics(
            watermark=NOW,
            taken_at=NOW,
            epochs=(),
            exposed=counted,
            moments=moments or {},
            grids={},
            open_units={},
            freshness={},
            excluded=excluded or {},
        ),
        srm=SrmReport(alarm=srm, p=0.5, e_value=1.0, alpha=0.001, exposed={}, expected={}),
        metrics=tuple(metrics),
        memory={},
    )
