"""What a metric may ask for: a field that its type would ignore is refused, not ignored.

Checked where a metric is put and where a plan is frozen, not where a stored one is read: what was
frozen before a rule existed stays readable.
"""

from __future__ import annotations

from controller.errors import InvalidInput
from controller.experiments.metrics import Direction, Metric, MetricType, Observed
from controller.experiments.policies import Mode, Policy
from controller.experiments.slots import Guardrail


def check_metric(metric: Metric, *, where: str = "metric") -> None:
    """Whether every field of the metric means something for its type.

    Raises
    ------
    InvalidInput
        If `winsorize` stands with a type other than mean, or its cap is not positive; if
        `lookback_seconds` stands with a quantile.
    """
    _check_cap(metric, where)
    if metric.lookback_seconds and metric.type is MetricType.QUANTILE:
        raise InvalidInput(
            f"{where}.lookback_seconds: {metric.key!r} is a quantile, which is read from counts "
            "below cuts, and those no covariate adjusts; leave it out.",
            field=f"{where}.lookback_seconds",
        )


def check_margin(
    guardrail: Guardrail, metric: Metric, *, mean: float | None = None, where: str
) -> None:
    """Whether a guardrail's relative margin is one of its metric.

    Parameters
    ----------
    mean : float, optional
        Champion's, as it is known; else that of the metric's stated baseline, if there is one.

    Raises
    ------
    InvalidInput
        If it would tolerate the loss of everything, or be a part of nothing (decision 0062).
    """
    why = why_no_margin(guardrail.margin_relative, metric, mean=mean)
    if why:
        raise InvalidInput(f"{where}: margin_relative of {metric.key!r} {why}", field=where)


def why_no_margin(relative: float | None, metric: Metric, *, mean: float | None = None) -> str:
    """Why there can be no such relative margin; empty where there can, or none is asked for."""
    if not relative:
        return ""
    if relative >= 1.0 and metric.direction is Direction.INCREASE:
        return "lies below 1 where an increase is better: all of it may not be lost."
    known = metric.baseline.mean if mean is None and metric.baseline is not None else mean
    if known is not None and known <= 0.0:
        return (
            f"is a fraction of champion's mean, which is {known:g}, not above zero: state margin, "
            "a number in the metric's units."
        )
    return ""


def why_undecided(metric: Metric, policy: Policy) -> str:
    """Why a metric may not decide under a policy; empty where it may.

    A quantile decides only in anytime mode, where its test and the interval that people approve by
    are one (decision 0043).
    """
    if metric.type is MetricType.QUANTILE and policy.oec.mode is not Mode.ANYTIME:
        return (
            f"{metric.key!r} is a quantile, which decides only under a policy whose oec.mode is "
            f"anytime, and that of {policy.name} is {policy.oec.mode.value}; it may guard under "
            "any."
        )
    if metric.observed is Observed.AFTER_DECISION and not policy.allow_selected:
        return (
            f"{metric.key!r} is seen only after the model said yes, so it cannot decide unless "
            f"the policy says allow_selected: true, and {policy.name} does not."
        )
    return ""


def _check_cap(metric: Metric, where: str) -> None:
    """A unit without an outcome stands for zero, so a cap below that would turn the order round."""
    cap = metric.winsorize
    if cap is None:
        return
    if metric.type is not MetricType.MEAN:
        raise InvalidInput(
            f"{where}.winsorize: {metric.key!r} is a {metric.type.value}; only a mean has values "
            "to cap. Leave it out.",
            field=f"{where}.winsorize",
        )
    if cap.value is not None and not cap.value > 0.0:
        raise InvalidInput(
            f"{where}.winsorize.value: the largest value of one unit is a number > 0, not "
            f"{cap.value:g}.",
            field=f"{where}.winsorize.value",
        )
