"""Tests without a horizon: the harm alarm of each guardrail, and claims in anytime mode.

An alarm's null is the margin itself: no worse than what the slot tolerates. Against zero it would
fire on half a margin, which the non-inferiority claim allows. All alarms of a rollout share their
alpha by Holm on the running minimum of their always-valid p-values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from controller.analysis.memory import AnytimeMemory, settled
from controller.analysis.pairs import Pair
from controller.analysis.readings import Grids, Reading
from controller.experiments.metrics import MetricType
from controller.stats.mixture import (
    critical_z,
    log_e_of,
    p_from_log_e,
    regression_critical_z,
    regression_log_e,
    tuned_rho,
)
from controller.stats.multiplicity import holm
from controller.stats.quantile import quantile_log_e
from controller.stats.results import Alternative, Inconclusive
from controller.stats.score import Null

# Harm is tuned to be found early, a claim at half the planned size; both hold at every look.
HARM_TUNING = 0.25
CLAIM_TUNING = 0.5


def log_evidence(
    pair: Pair,
    grids: Grids,
    reading: Reading,
    *,
    null: Null,
    alternative: Alternative,
    alpha: float,
    tuning: float,
) -> float | None:
    """Log e-value that the challenger's value is larger (smaller) than the null's.

    Parameters
    ----------
    pair, grids
        The comparison; `grids` serve a quantile metric.
    reading : Reading
        Against `null`.
    alternative : {"two-sided", "larger", "smaller"}
        About the metric's value, not about what is better.
    alpha, tuning : float
        Level and effective size the mixture is tuned for.

    Returns
    -------
    float or None
        None where nothing can be said.
    """
    if pair.metric.type is MetricType.QUANTILE:
        assert pair.metric.q is not None
        found = quantile_log_e(
            grids,
            q=pair.metric.q,
            alpha=alpha,
            tuning=tuning,
            alternative=alternative,
            scale=null.scale,
            shift=null.shift,
        )
        return None if isinstance(found, Inconclusive) else found
    ratio = reading.size / tuned_rho(tuning, alpha=alpha, alternative=alternative)
    regression = reading.regression if alternative == "two-sided" else None
    if regression is None:
        log_e = log_e_of(reading.z, ratio, alternative=alternative)
    else:
        units, freedom = regression
        log_e = regression_log_e(reading.z, ratio, units=units, freedom=freedom)
    return log_e if math.isfinite(log_e) else None


def remember(memory: AnytimeMemory, log_e: float | None) -> AnytimeMemory:
    """The memory after a look: one more counted, the maximum raised; unchanged without evidence."""
    if log_e is None:
        return memory
    return AnytimeMemory(
        looks=memory.looks + 1,
        log_e_max=max(memory.log_e_max, settled(log_e)),
        towards=memory.towards,
        crossed=memory.crossed,
    )


def holm_rejects(memories: Mapping[str, AnytimeMemory], alphas: Sequence[float]) -> dict[str, bool]:
    """Which of a family of always-valid tests reject, each at its alpha, after Holm.

    Parameters
    ----------
    memories : mapping
        The whole family; a test without evidence counts with p = 1.
    alphas : sequence of float
        In the mapping's order.
    """
    if not memories:
        return {}
    adjusted = holm([p_from_log_e(each.log_e_max) for each in memories.values()])
    return {key: p <= alpha for key, p, alpha in zip(memories, adjusted, alphas, strict=True)}


def half_width(reading: Reading, *, alpha: float, tuning: float, alternative: Alternative) -> float:
    """Standard errors to each side in the confidence sequence at this look."""
    ratio = reading.size / tuned_rho(tuning, alpha=alpha, alternative=alternative)
    regression = reading.regression if alternative == "two-sided" else None
    if regression is None:
        return critical_z(ratio, alpha=alpha, alternative=alternative)
    units, freedom = regression
    return regression_critical_z(ratio, alpha=alpha, units=units, freedom=freedom)
