"""What one look sees of one comparison, before anything is concluded."""

from __future__ import annotations

import math
from dataclasses import dataclass

from controller.aggregation.statistics import Statistics
from controller.analysis.anytime import CLAIM_TUNING
from controller.analysis.memory import Ends, settled
from controller.analysis.pairs import Levels, Pair, levels, pair_of
from controller.analysis.planned import PlannedRules, claimed, one_end_open
from controller.analysis.readings import Grids, Reading, grids_of, read
from controller.experiments.metrics import Metric, MetricType
from controller.stats.quantile import quantile_test
from controller.stats.results import Inconclusive
from controller.stats.score import EQUAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """One challenger beside champion on one metric.

    Attributes
    ----------
    pair, grids
        The sums.
    reading : Reading or Inconclusive
        Against the claim's null.
    estimate, standard_error : float or None
        Challenger minus champion over the epochs, and its standard error; the latter is the one of
        the claim's own statistic where both measure the same difference, so that interval and test
        agree to the last bit.
    levels : Levels or None
        Of both arms.
    anytime : (low, high), (low, high) or None
        Confidence sequences of a quantile's difference and relative lift, which no standard error
        gives.
    """

    pair: Pair
    grids: Grids
    reading: Reading | Inconclusive
    estimate: float | None
    standard_error: float | None
    levels: Levels | None
    anytime: tuple[Ends, Ends] | None = None

    @property
    def known(self) -> Reading | None:
        """The reading, where there is one."""
        return None if isinstance(self.reading, Inconclusive) else self.reading

    @property
    def relative(self) -> float | None:
        """Estimate as a fraction of champion's level."""
        return as_fraction(self.estimate, self.levels)


def see(
    statistics: Statistics,
    metric: Metric,
    challenger: str,
    rules: PlannedRules,
    *,
    covariates: int = 1,
) -> Sight:
    """Read one comparison against the null of its claim; `covariates` as in `Pair`."""
    pair = pair_of(statistics, metric, challenger, covariates=covariates)
    if metric.type is MetricType.QUANTILE:
        return _quantile_sight(pair, grids_of(statistics, pair), rules)
    reading = read(pair, (), null=rules.null)
    arms = levels(pair)
    estimate, error = _difference(pair, reading, rules)
    return Sight(
        pair=pair,
        grids=(),
        reading=reading,
        estimate=estimate,
        standard_error=error,
        levels=None if isinstance(arms, Inconclusive) else arms,
    )


def _difference(
    pair: Pair, reading: Reading | Inconclusive, rules: PlannedRules
) -> tuple[float | None, float | None]:
    """Challenger minus champion and its standard error, whatever null the claim has.

    Where the null only shifts, the reading has measured this difference already.
    """
    null = rules.null
    folded = pair.metric.type is MetricType.RATIO  # linearised under the null itself
    if isinstance(reading, Reading) and reading.parts is not None and null.scale == 1.0:
        gap = None if folded else reading.parts.gap
        if gap is not None:
            return gap, reading.standard_error
    plain = reading if null == EQUAL else read(pair, (), null=EQUAL)
    if isinstance(plain, Inconclusive):
        if isinstance(reading, Reading) and null.scale == 1.0:  # all units alike, none of them hit
            return 0.0, reading.standard_error
        return None, None
    if null.scale == 1.0 and isinstance(reading, Reading):
        return plain.distance, reading.standard_error
    return plain.distance, plain.standard_error


def as_fraction(value: float | None, arms: Levels | None) -> float | None:
    """`value` over champion's level; None where champion stands at zero."""
    if value is None or arms is None or arms.champion == 0.0:
        return None
    share = value / abs(arms.champion)
    return share if math.isfinite(share) else None


def _quantile_sight(pair: Pair, grids: Grids, rules: PlannedRules) -> Sight:
    assert pair.metric.q is not None
    reading = read(pair, grids, null=rules.null)
    found = quantile_test(
        grids,
        q=pair.metric.q,
        alpha=rules.alpha / rules.levels,
        tuning=CLAIM_TUNING * rules.size_planned,
        alternative=claimed(rules),
    )
    if isinstance(found, Inconclusive):
        return Sight(
            pair=pair, grids=grids, reading=reading, estimate=None, standard_error=None, levels=None
        )
    unsure = math.inf  # the levels are known, how well is told by the confidence sequence alone
    return Sight(
        pair=pair,
        grids=grids,
        reading=reading,
        estimate=settled(found.treatment - found.control),
        standard_error=None,
        levels=Levels(
            champion=settled(found.control),
            challenger=settled(found.treatment),
            champion_variance=unsure,
            challenger_variance=unsure,
        ),
        anytime=(
            one_end_open(rules, settled(found.difference_lower), settled(found.difference_upper)),
            one_end_open(rules, settled(found.ratio_lower - 1), settled(found.ratio_upper - 1)),
        ),
    )
