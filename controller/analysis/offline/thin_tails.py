"""A quantile in a thin tail: an exact test beside the clustered grid that cannot speak yet.

The grid's shares are taken as normal from 25 outcomes beyond the quantile on: 500 units an arm for
a .95-quantile, 2,500 for a .99. Recorded units have their values, one each, and below that count
those are tested as they are. Beyond it the grid needs fewer units and stands alone (decision 0034).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from controller.analysis.anytime import CLAIM_TUNING
from controller.analysis.offline.arrivals import Arrivals
from controller.analysis.offline.claims import rules_of
from controller.analysis.offline.recorded import Recorded, ThinTail
from controller.analysis.offline.spec import AnalysisSpec, MetricSpec
from controller.analysis.planned import PlannedRules, claimed
from controller.experiments.metrics import MetricType
from controller.experiments.plans import CHAMPION
from controller.stats.clustered import TAIL_COUNT
from controller.stats.exact_quantile import (
    ExactQuantileTest,
    exact_quantile_log_e,
    exact_quantile_test,
)
from controller.stats.mixture import p_from_log_e
from controller.stats.results import Alternative, Inconclusive

MOST_UNITS = 100_000
"""Of one comparison; its values are sorted at every look."""

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_AGAINST: Mapping[Alternative, Alternative] = {"larger": "smaller", "smaller": "larger"}


def keeps_values(metric: MetricSpec, arrivals: Arrivals) -> bool:
    """Whether a metric's values, one a unit of a single epoch, are worth holding.

    Where epochs differ in their weights, arms differ in what they mix: those need the grid.
    """
    single = arrivals.unit_of_row is None and len(arrivals.epochs) == 1
    few = len(arrivals.arm) <= MOST_UNITS * len(arrivals.arms)
    return metric.metric.type is MetricType.QUANTILE and single and few


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Case:
    """One comparison: both arms' values, and how many units had arrived with each.

    `control` and `treatment` are (values, arrivals before them), in any order.
    """

    q: float
    rules: PlannedRules
    control: tuple[Floats, Floats]
    treatment: tuple[Floats, Floats]

    @property
    def is_thin(self) -> bool:
        """Few enough values beyond the quantile, and few enough in all."""
        sizes = [values.size for values, _ in (self.control, self.treatment)]
        most = TAIL_COUNT / min(self.q, 1.0 - self.q)
        return min(sizes) > 0 and min(sizes) < max(most, TAIL_COUNT) and sum(sizes) <= MOST_UNITS

    @property
    def varies(self) -> bool:
        """Whether there is anything to compare: two values that differ."""
        values = np.concatenate([self.control[0], self.treatment[0]])
        return bool((values != values[0]).any())

    @property
    def alpha(self) -> float:
        """Of this challenger alone."""
        return self.rules.alpha / self.rules.levels

    @property
    def tuning(self) -> float:
        """Units of an arm, for which evidence is tuned as the claim's is."""
        return 2.0 * CLAIM_TUNING * self.rules.size_planned

    def log_e(self, units: float, alternative: Alternative) -> float | None:
        """Evidence of the values that had arrived with so many units."""
        found = exact_quantile_log_e(
            *(values[before < units] for values, before in (self.control, self.treatment)),
            q=self.q,
            tuning=self.tuning,
            alpha=self.alpha,
            alternative=alternative,
            scale=self.rules.null.scale,
            shift=self.rules.null.shift,
        )
        return None if isinstance(found, Inconclusive) else found

    def last(self) -> ExactQuantileTest:
        """The last look with its intervals."""
        found = exact_quantile_test(
            self.control[0],
            self.treatment[0],
            q=self.q,
            tuning=self.tuning,
            alpha=self.alpha,
            alternative=claimed(self.rules),
        )
        assert isinstance(found, ExactQuantileTest)
        return found


def with_thin_tails(
    spec: AnalysisSpec,
    recorded: Recorded,
    arrivals: Arrivals,
    values: Mapping[str, Floats],
) -> Recorded:
    """Add the exact test of every comparison of a quantile whose tail is thin.

    Parameters
    ----------
    values : mapping of metric to ndarray, shape (n_units,)
        Of the metrics of `keeps_values`; NaN where a unit has none.
    """
    found = {}
    for metric in (one for one in spec.metrics if one.key in values):
        rules = rules_of(metric, recorded)
        for arm in (one for one in recorded.arms if one != CHAMPION):
            names = (recorded.arms[CHAMPION], recorded.arms[arm])
            case = _case(metric, rules, arrivals, values[metric.key], names)
            if case.is_thin and case.varies:
                found[f"{metric.key}/{arm}"] = _look_by_look(case, recorded)
    return replace(recorded, thin=found)


def _case(
    metric: MetricSpec,
    rules: PlannedRules,
    arrivals: Arrivals,
    values: Floats,
    names: tuple[str, str],
) -> _Case:
    assert metric.metric.q is not None
    known = ~np.isnan(values) & (arrivals.position >= 0)
    control, treatment = (
        (values[inside], arrivals.position[inside].astype(np.float64))
        for inside in (known & (arrivals.arm == arrivals.arms.index(name)) for name in names)
    )
    return _Case(q=metric.metric.q, rules=rules, control=control, treatment=treatment)


def _look_by_look(case: _Case, recorded: Recorded) -> ThinTail:
    claim = claimed(case.rules)
    against = _AGAINST.get(claim)
    peak = harm = 0.0
    first: int | None = None
    for look in recorded.looks:
        units = float(sum(look.statistics.exposed.values()))
        peak = max(peak, case.log_e(units, claim) or 0.0)
        if against is not None:
            harm = max(harm, case.log_e(units, against) or 0.0)
        if first is None and peak >= -math.log(case.alpha):
            first = look.number
    return ThinTail(
        n=(case.control[0].size, case.treatment[0].size),
        last=case.last(),
        p=p_from_log_e(peak),
        harm_p=p_from_log_e(harm) if against is not None else None,
        first_look=first,
    )
