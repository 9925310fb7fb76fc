"""Guardrails at a look: what must be shown, and the harm alarm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from controller.analysis.report import LookReport, MetricVerdict
from controller.experiments.metrics import Direction
from controller.experiments.policies import GuardrailRules, Mode
from controller.experiments.slots import Guardrail
from tests.unit.analysis.looking import ERRORS, alarm, claim, counts, verdict, walk
from tests.worlds import (
    metric,
    plan,
)


def test_a_guardrail_must_be_shown_and_says_so_when_it_was_not() -> None:
    chosen = plan(guardrails=ERRORS)
    shown = walk(chosen, counts(5000, 0.1, 0.1, errors=(0.05, 0.05)))[0]
    assert verdict(shown, "errors") == (MetricVerdict.NOT_WORSE, "boundary_crossed")
    unshown = walk(chosen, counts(5000, 0.1, 0.1, errors=(0.05, 0.066)))[0]
    assert verdict(unshown, "errors") == (MetricVerdict.NO_DIFFERENCE, "guardrail_not_shown")


def test_the_harm_alarm_fires_beyond_the_margin_and_not_inside_it() -> None:
    chosen = plan(guardrails=ERRORS)
    beyond = walk(chosen, *(counts(n, 0.1, 0.1, errors=(0.05, 0.11)) for n in (500, 1500, 2500)))
    assert verdict(beyond[-1], "errors") == (MetricVerdict.HARM, "harm_alarm")
    crossed = alarm(beyond[-1]).crossed
    assert crossed is not None
    assert crossed.direction == "harm"
    inside = walk(chosen, *(counts(n, 0.1, 0.1, errors=(0.05, 0.067)) for n in (500, 2000, 4900)))
    assert alarm(inside[-1]).crossed is None


def test_the_harm_alarm_does_not_wait_for_the_first_look() -> None:
    chosen = plan(guardrails=ERRORS, horizon=100_000)
    report = walk(chosen, counts(1200, 0.1, 0.1, errors=(0.05, 0.25)))[0]
    assert claim(report, "errors").look == 0
    assert alarm(report).crossed is not None
    assert verdict(report, "errors")[0] is MetricVerdict.HARM


def test_alarms_share_their_alpha() -> None:
    two = ERRORS | {
        "slow": (
            metric("slow", direction=Direction.DECREASE),
            Guardrail(metric="slow", margin=0.02),
        )
    }
    rates = next(
        rate
        for rate in np.arange(0.08, 0.14, 0.0005)
        if 0.005 < (alarm(_errors(ERRORS, float(rate))).p or 0.0) < 0.01
    )
    single = _errors(ERRORS, float(rates))
    assert alarm(single).crossed is not None
    assert alarm(_errors(two, float(rates), slow=(0.05, 0.05))).crossed is None


def _errors(
    guardrails: Mapping[str, Any], rate: float, **others: tuple[float, float]
) -> LookReport:
    chosen = plan(guardrails=guardrails)
    return walk(chosen, counts(1500, 0.1, 0.1, errors=(0.05, rate), **others))[0]


def test_a_relative_margin_is_a_fraction_of_champion() -> None:
    relative = {
        "errors": (
            metric("errors", direction=Direction.DECREASE),
            Guardrail(metric="errors", margin_relative=0.4),
        )
    }
    report = walk(plan(guardrails=relative), counts(5000, 0.1, 0.1, errors=(0.05, 0.05)))[0]
    found = report.metric("errors")
    assert found is not None
    assert found.comparisons[0].margin == pytest.approx(0.02)
    assert found.comparisons[0].verdict is MetricVerdict.NOT_WORSE
    assert found.comparisons[0].interval is not None
    assert found.comparisons[0].interval.low is None


def test_a_guardrail_may_run_at_any_time() -> None:
    chosen = plan(guardrails=ERRORS, guardrail_rules=GuardrailRules(mode=Mode.ANYTIME))
    report = walk(chosen, counts(20_000, 0.1, 0.1, errors=(0.05, 0.05)))[0]
    assert claim(report, "errors").mode == "anytime"
    assert verdict(report, "errors") == (MetricVerdict.NOT_WORSE, "boundary_crossed")
