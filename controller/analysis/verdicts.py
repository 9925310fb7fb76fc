"""From tests to words: the verdict on one challenger and metric, and why."""

from __future__ import annotations

from controller.analysis.claims import Showing
from controller.analysis.planned import PlannedRules
from controller.analysis.readings import Reading
from controller.analysis.report import Comparison, Crossing, Epochs, MetricVerdict, Test
from controller.analysis.rules import harm_nulls
from controller.analysis.sights import Sight
from controller.stats.results import Inconclusive, Reason

_CROSSED = {
    "better": (MetricVerdict.BETTER, "boundary_crossed"),
    "worse": (MetricVerdict.WORSE, "boundary_crossed"),
    "not_worse": (MetricVerdict.NOT_WORSE, "boundary_crossed"),
    "futile": (MetricVerdict.NO_DIFFERENCE, "futile"),
    "ended": (MetricVerdict.NO_DIFFERENCE, "horizon_reached"),
    "harm": (MetricVerdict.HARM, "harm_alarm"),
}
# What protects holds even while data are missing; what would advance does not.
_PROTECTIVE = frozenset({"worse", "harm"})


def compare(
    rules: PlannedRules,
    sight: Sight,
    showing: Showing,
    *,
    alarm: Test | None,
    unknown: str | None,
    epochs: Epochs | None = None,
) -> Comparison:
    """One challenger's comparison on one metric.

    Parameters
    ----------
    rules : PlannedRules
    sight, showing
        What was seen and what the claim shows.
    alarm : Test or None
        The guardrail's harm alarm.
    unknown : str or None
        Why the metric's data may not be read, if they may not.
    epochs : Epochs or None
        The effect epoch by epoch.
    """
    harmed = alarm.crossed if alarm is not None else None
    verdict, reason = _verdict(showing.test, sight, harmed, unknown)
    if isinstance(sight.reading, Reading) and verdict is MetricVerdict.INCONCLUSIVE:
        reason = Reason.BASELINE_NOT_POSITIVE.value if stands_below(rules, sight) else reason
    if alarm is not None and reason == "horizon_reached":
        reason = "guardrail_not_shown"
    return Comparison(
        arm=sight.pair.challenger,
        verdict=verdict,
        reason=reason,
        estimate=sight.estimate,
        interval=showing.interval,
        relative=sight.relative,
        relative_interval=showing.relative,
        margin=_margin(rules, sight),
        tests=(showing.test,) if alarm is None else (showing.test, alarm),
        epochs=epochs,
    )


def _verdict(
    claim: Test, sight: Sight, harmed: Crossing | None, unknown: str | None
) -> tuple[MetricVerdict, str]:
    latched = harmed or claim.crossed
    if latched is not None and (unknown is None or latched.direction in _PROTECTIVE):
        return _CROSSED[latched.direction]
    if unknown is not None:
        return MetricVerdict.UNKNOWN, unknown
    if isinstance(sight.reading, Inconclusive):
        if sight.reading.reason == Reason.NO_DATA:
            return MetricVerdict.UNKNOWN, "no_data"
        return MetricVerdict.INCONCLUSIVE, str(sight.reading.reason)
    if claim.part == "reserve":
        return MetricVerdict.INCONCLUSIVE, "horizon_passed"
    if claim.mode == "planned" and claim.look == 0:
        return MetricVerdict.INCONCLUSIVE, "too_few_units"
    return MetricVerdict.INCONCLUSIVE, "keep_collecting"


def stands_below(rules: PlannedRules, sight: Sight) -> bool:
    """Whether a relative margin has no champion above zero to be a part of (decision 0062)."""
    arms, several = sight.levels, len(harm_nulls(rules.null, sight.pair.metric)) > 1
    return several and arms is not None and arms.champion <= 0.0


def _margin(rules: PlannedRules, sight: Sight) -> float | None:
    """The absolute harm in force: a size, whatever the direction."""
    if rules.null.scale != 1.0:
        arms = sight.levels
        return None if arms is None else abs((rules.null.scale - 1.0) * arms.champion)
    return abs(rules.null.shift) if rules.null.shift else None
