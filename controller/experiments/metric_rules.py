"""What a metric may ask for: a field that its type would ignore is refused, not ignored.

Checked where a metric is put and where a plan is frozen, not where a stored one is read: what was
frozen before a rule existed stays readable.
"""

from __future__ import annotations

from controller.errors import InvalidInput
from controller.experiments.metrics import Metric, MetricType, Observed
from controller.experiments.policies import Mode, Policy

_NO_LOOKBACK = {
    MetricType.RATIO: "needs the covariate's products with the denominator, which are not kept",
    MetricType.QUANTILE: "is read from counts below cuts, which no covariate adjusts",
}


def check_metric(metric: Metric, *, where: str = "metric") -> None:
    """Whether every field of the metric means something for its type.

    Raises
    ------
    InvalidInput
        If `winsorize` stands with a type other than mean, or its cap is not positive; if
        `lookback_seconds` stands with a ratio or a quantile.
    """
    _check_cap(metric, where)
    why = _NO_LOOKBACK.get(metric.type)
    if metric.lookback_seconds and why is not None:
        raise InvalidInput(
            f"{where}.lookback_seconds: {metric.key!r} is a {metric.type.value}, which {why}; "
            "leave it out.",
            field=f"{where}.lookback_seconds",
        )


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
