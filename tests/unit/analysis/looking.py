"""Looks of the unit tests: worlds of counts, walked through, and what they say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controller.aggregation.statistics import Moments, Statistics
from controller.analysis import report as reports_room
from controller.analysis.look import take_look
from controller.analysis.report import LookInput, LookReport, MetricVerdict
from controller.experiments.metrics import Direction
from controller.experiments.plans import Plan
from controller.experiments.slots import Guardrail
from tests.worlds import (
    binary,
    metric,
    statistics,
)

ERRORS = {
    "errors": (
        metric("errors", direction=Direction.DECREASE),
        Guardrail(metric="errors", margin=0.02),
    )
}


def counts(n: int, champion: float, challenger: float, **others: tuple[float, float]) -> Statistics:
    """n units an arm; shares of successes for conversion and any other binary metric."""
    cells: dict[tuple[str, int, str], Moments] = {}
    for key, (a, b) in {"conversion": (champion, challenger), **others}.items():
        cells[key, 0, "champion"] = binary(n, round(a * n))
        cells[key, 0, "challenger"] = binary(n, round(b * n))
    return statistics(cells)


def walk(the_plan: Plan, *snapshots: Statistics) -> list[LookReport]:
    reports: list[LookReport] = []
    previous: Mapping[str, Any] | None = None
    for number, snapshot in enumerate(snapshots, start=1):
        look = LookInput(plan=the_plan, statistics=snapshot, number=number, previous=previous)
        reports.append(take_look(look))
        previous = reports[-1].memory
    return reports


def verdict(report: LookReport, key: str = "conversion") -> tuple[MetricVerdict, str]:
    found = report.metric(key)
    assert found is not None
    return found.comparisons[0].verdict, found.comparisons[0].reason


def claim(report: LookReport, key: str = "conversion", arm: int = 0) -> reports_room.Test:
    found = report.metric(key)
    assert found is not None
    return found.comparisons[arm].tests[0]


def alarm(report: LookReport, key: str = "errors") -> reports_room.Test:
    found = report.metric(key)
    assert found is not None
    return found.comparisons[0].tests[1]
