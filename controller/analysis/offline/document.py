"""The JSON report of an offline analysis."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from controller.aggregation.statistics import Epoch, Moments
from controller.analysis.epochs import epochs_of
from controller.analysis.memory import finite_or_none
from controller.analysis.offline.compare import Judged
from controller.analysis.offline.fixed import Fixed, fixed_result, shows_harm
from controller.analysis.offline.held import too_many_met_both
from controller.analysis.offline.rare import rare_hits
from controller.analysis.offline.recorded import ThinTail
from controller.analysis.offline.spec import MetricSpec, Mode, Role
from controller.analysis.pairs import Pair, pooled, residual_about
from controller.analysis.planned import PlannedRules
from controller.analysis.report import Comparison, Crossing, Held, Interval, MetricVerdict
from controller.analysis.sights import Sight
from controller.analysis.verdicts import stands_below
from controller.experiments.metrics import MetricType
from controller.experiments.plans import CHAMPION
from controller.stats.betting import BettingInterval
from controller.stats.results import Inconclusive, Reason

_SHOWN = ("better", "worse", "not_worse", "harm")


def document_of(judged: Judged) -> dict[str, Any]:
    """One experiment's report."""
    recorded = judged.recorded
    head: dict[str, Any] = {"by": dict(recorded.by)} if recorded.by else {}
    return head | {
        "schema": 1,
        "champion": recorded.arms[CHAMPION],
        "srm": {
            "p_fixed": judged.srm.p_fixed,
            "p_sequential": judged.srm.p_sequential,
            "e_value": judged.srm.e_value,
            "alarm": judged.srm.alarm,
        },
        "double_exposure": _double_exposure(judged),
        "metrics": {metric.key: _metric(judged, metric) for metric in recorded.metrics},
        "looks": [_look(judged, index) for index in range(len(recorded.looks))],
        "warnings": list(recorded.warnings),
    }


def _double_exposure(judged: Judged) -> dict[str, Any] | None:
    """Units that met two arms; None where the rows cannot tell."""
    double = judged.recorded.double_exposed
    if double is None:
        return None
    last = judged.recorded.looks[-1].statistics if judged.recorded.looks else None
    units = double + (sum(last.exposed.values()) if last is not None else 0)
    return {
        "units": double,
        "share": double / units if units else 0.0,
        "alarm": too_many_met_both(judged.recorded),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One comparison at the last look, with what describes it."""

    spec: MetricSpec
    rules: PlannedRules
    sight: Sight
    comparison: Comparison
    fixed: Fixed | Inconclusive
    bounded: BettingInterval | None
    thin: ThinTail | None
    held: Held | None
    epochs: Sequence[Epoch]

    @property
    def factor(self) -> float:
        """A ratio's difference over its linearised one, which differs in the second order."""
        arms, estimate = self.sight.levels, self.sight.estimate
        if self.spec.metric.type is not MetricType.RATIO or arms is None or not estimate:
            return 1.0
        factor = (arms.challenger - arms.champion) / estimate
        return factor if math.isfinite(factor) and factor > 0.0 else 1.0

    @property
    def estimate(self) -> float | None:
        """Challenger minus champion, in the metric's units."""
        if self.spec.mode is Mode.FIXED and isinstance(self.fixed, Fixed):
            return self.fixed.estimate
        return _times(self.sight.estimate, self.factor)


def _metric(judged: Judged, spec: MetricSpec) -> dict[str, Any]:
    recorded, rules = judged.recorded, judged.rules[spec.key]
    seen = judged.looks[-1][spec.key]
    comparisons = {}
    for arm, comparison in seen.comparisons.items():
        sight = seen.sights[arm]
        case = _Case(
            spec=spec,
            rules=rules,
            sight=sight,
            comparison=comparison,
            fixed=fixed_result(rules, sight),
            bounded=recorded.bounded.get(f"{spec.key}/{arm}"),
            thin=recorded.thin.get(f"{spec.key}/{arm}"),
            held=seen.held.get(arm),
            epochs=recorded.looks[-1].statistics.epochs,
        )
        shown = _comparison(case)
        unknown = shown["verdict"] == MetricVerdict.UNKNOWN.value
        if case.held is not None and unknown and judged.doubt is None:
            shown["cause"] = recorded.arms[case.held.cause]
        comparisons[recorded.arms[arm]] = shown
    pairs = dict(seen.sights)
    arms = {
        name: _arm(spec, arm, pairs[arm] if arm in pairs else next(iter(pairs.values())))
        for arm, name in recorded.arms.items()
    }
    return {
        "type": spec.metric.type.value,
        "role": spec.role.value,
        "direction": spec.metric.direction.value,
        "alpha": spec.alpha,
        "arms": arms,
        "comparisons": comparisons,
    }


def _comparison(case: _Case) -> dict[str, Any]:
    verdict, reason = _verdict(case)
    arms = case.sight.levels
    relative = None
    if case.estimate is not None and arms is not None and arms.champion != 0.0:
        relative = finite_or_none(case.estimate / abs(arms.champion))
    if case.spec.mode is Mode.FIXED:
        ends = case.fixed.relative if isinstance(case.fixed, Fixed) else None
    else:
        ends = _ends(case.comparison.relative_interval)
    out: dict[str, Any] = {
        "estimate": finite_or_none(case.estimate),
        "relative": {"estimate": relative, "ci": _list(ends)},
        "fixed": _fixed(case.fixed),
        "sequential": None if case.spec.mode is Mode.FIXED else _sequential(case, verdict),
        "verdict": verdict,
        "reason": reason,
    }
    if verdict in ("inconclusive", "no_difference") and _is_nothing(case, out):
        out |= {"verdict": MetricVerdict.NO_DIFFERENCE.value, "reason": "equivalent"}
    if case.spec.role is Role.GUARDRAIL:
        out["margin"] = case.comparison.margin or 0.0
    out |= _epochs(case)
    if case.bounded is not None:
        out["bounded"] = {"ci": [case.bounded.lower, case.bounded.upper], "n": case.bounded.n}
    if case.thin is not None:
        out["thin_tail"] = case.thin.document()
    sides = 1.0 if case.spec.role is Role.OEC else 2.0
    out |= rare_hits(case.sight.pair, alpha=min(sides * case.spec.alpha, 0.5))
    if len(case.comparison.tests) > 1:
        alarm = case.comparison.tests[1]
        out["harm"] = {
            "e_value": alarm.e_value,
            "p": alarm.p,
            "alarm": alarm.crossed is not None,
        }
    return out


def _is_nothing(case: _Case, shown: Mapping[str, Any]) -> bool:
    """Whether the interval shown has no difference in it as large as the description minds."""
    ends = shown["fixed" if case.spec.mode is Mode.FIXED else "sequential"]["ci"]
    most = case.spec.equivalence
    return most is not None and bool(ends) and all(e is not None and abs(e) < most for e in ends)


def _epochs(case: _Case) -> dict[str, Any]:
    """Whether several epochs tell one story, as the live look asks it; each one's difference."""
    found = epochs_of(case.sight, case.rules, case.epochs)
    if found is None:
        return {}
    return {"heterogeneity": asdict(found) | {"effects": [asdict(one) for one in found.effects]}}


def _fixed(fixed: Fixed | Inconclusive) -> dict[str, Any]:
    if isinstance(fixed, Inconclusive):
        return {"ci": None, "p": None, "method": None, "reason": str(fixed.reason)}
    return {"ci": _list(fixed.ci), "p": fixed.p, "method": fixed.method}


def _sequential(case: _Case, verdict: str) -> dict[str, Any]:
    test = case.comparison.tests[0]
    crossed = _crossing(case.comparison)
    ends = _ends(case.comparison.interval)
    ci = [_times(end, case.factor) for end in ends] if ends is not None else None
    latched = case.spec.mode is Mode.PLANNED and crossed is not None
    return {
        "mode": case.spec.mode.value,
        "estimate": _times(crossed.estimate, case.factor) if latched and crossed else case.estimate,
        "ci": ci,
        "p": test.p,
        "e_value": test.e_value,
        "first_look": crossed.look if crossed else None,
        "first_n": crossed.n if crossed else None,
        "first_at": crossed.taken_at if crossed else None,
        "conclusive": crossed is not None and verdict != MetricVerdict.UNKNOWN.value,
        "looks": test.look,
        "t": test.t,
    }


def _crossing(comparison: Comparison) -> Crossing | None:
    """The crossing behind the verdict: the alarm's before the claim's."""
    found = [test.crossed for test in reversed(comparison.tests) if test.crossed is not None]
    return next((crossed for crossed in found if crossed.direction in _SHOWN), None)


def _verdict(case: _Case) -> tuple[str, str]:
    if case.spec.mode is not Mode.FIXED:
        return case.comparison.verdict.value, _offline_reason(case)
    if case.held is not None:
        return MetricVerdict.UNKNOWN.value, case.held.reason
    if isinstance(case.fixed, Inconclusive):
        unknown = case.fixed.reason == "no_data"
        verdict = MetricVerdict.UNKNOWN if unknown else MetricVerdict.INCONCLUSIVE
        return verdict.value, str(case.fixed.reason)
    better = case.rules.better * case.fixed.statistic > 0.0
    if case.fixed.p <= case.spec.alpha:
        if case.spec.role is Role.GUARDRAIL:
            return MetricVerdict.NOT_WORSE.value, "significant"
        return (MetricVerdict.BETTER if better else MetricVerdict.WORSE).value, "significant"
    if case.spec.role is Role.GUARDRAIL and shows_harm(case.rules, case.sight):
        return MetricVerdict.HARM.value, "significant"
    if stands_below(case.rules, case.sight):
        return MetricVerdict.INCONCLUSIVE.value, Reason.BASELINE_NOT_POSITIVE.value
    return MetricVerdict.INCONCLUSIVE.value, "not_significant"


def _offline_reason(case: _Case) -> str:
    """Recorded data have ended: nothing more will be collected."""
    reason = case.comparison.reason
    unread = isinstance(case.sight.reading, Inconclusive)
    if unread or reason not in ("keep_collecting", "too_few_units"):
        return reason
    return "horizon_not_reached" if case.spec.mode is Mode.PLANNED else "not_shown"


def _arm(spec: MetricSpec, arm: str, sight: Sight) -> dict[str, Any]:
    pair = sight.pair
    total = pooled([a if arm == CHAMPION else b for _, a, b in pair.epochs])
    if spec.metric.type is MetricType.QUANTILE:
        grids = [grids[0 if arm == CHAMPION else 1] for grids in sight.grids]
        arms = sight.levels
        level = None if arms is None else (arms.champion if arm == CHAMPION else arms.challenger)
        n = sum(grid.units for grid in grids)
        found: dict[str, Any] = {"n": n, "mean": None, "variance": None, "quantile": level}
        return found | _missing(total)
    found = {"n": total.n, "mean": None, "variance": None}
    if total.n:
        found["mean"] = finite_or_none(_mean(pair, total.mean, total.denominator_mean))
    if total.n > 1:
        found["variance"] = finite_or_none(_variance(pair, total))
    return found | _missing(total)


def _missing(total: Moments) -> dict[str, Any]:
    """Complete units without a value, where there are any; `n` has the others."""
    return {"missing": total.missing} if total.missing else {}


def _mean(pair: Pair, mean: float, denominator: float) -> float:
    if pair.metric.type is not MetricType.RATIO:
        return mean
    return mean / denominator if denominator else math.nan


def _variance(pair: Pair, total: Moments) -> float:
    """Per unit, n - 1; a ratio's is that of its linearised outcome."""
    if pair.metric.type is not MetricType.RATIO:
        return total.m2 / (total.n - 1)
    if not total.denominator_mean:
        return math.nan
    ratio = total.mean / total.denominator_mean
    m2 = residual_about(total, ratio)
    return m2 / total.denominator_mean / total.denominator_mean / (total.n - 1)


def _look(judged: Judged, index: int) -> dict[str, Any]:
    recorded, look = judged.recorded, judged.recorded.looks[index]
    statistics = look.statistics
    return {
        "look": look.number,
        "at": look.at,
        "n": {
            name: sum(statistics.exposed.get((e.number, arm), 0) for e in statistics.epochs)
            for arm, name in recorded.arms.items()
        },
        "metrics": {
            key: {
                recorded.arms[arm]: _seen(comparison)
                for arm, comparison in seen.comparisons.items()
            }
            for key, seen in judged.looks[index].items()
        },
        "warnings": list(look.warnings),
    }


def _seen(comparison: Comparison) -> dict[str, Any]:
    test = comparison.tests[0]
    return {
        "estimate": finite_or_none(comparison.estimate),
        "ci": _list(_ends(comparison.interval)),
        "p": test.p,
        "e_value": test.e_value,
        "z": test.z,
        "verdict": comparison.verdict.value,
    }


def _ends(interval: Interval | None) -> tuple[float | None, float | None] | None:
    return None if interval is None else (interval.low, interval.high)


def _list(ends: tuple[float | None, float | None] | None) -> list[float | None] | None:
    return None if ends is None else list(ends)


def _times(end: float | None, factor: float) -> float | None:
    return None if end is None else finite_or_none(end * factor)
