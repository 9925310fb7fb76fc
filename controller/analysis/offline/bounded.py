"""A finite-sample guarantee for bounded outcomes: betting over the units in order of arrival.

Nothing is estimated and no limit theorem used, so it holds from the first unit on, for any law
within the bounds. It needs every value in order, which no live look has, and it is wide: this
serves a recorded experiment whose reader asks for such a guarantee.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from controller.analysis.offline.arrivals import Arrivals
from controller.analysis.offline.recorded import weights_of
from controller.analysis.offline.spec import AnalysisSpec, MetricSpec, Role
from controller.errors import InvalidInput
from controller.experiments.plans import CHAMPION
from controller.stats.betting import BettingInterval, bounded_difference
from controller.stats.results import Inconclusive, Reason

MOST_UNITS = 200_000
"""Of one comparison; each unit is a round of bets against every candidate of a grid."""

Floats = NDArray[np.float64]


def bounded_intervals(
    spec: AnalysisSpec,
    arrivals: Arrivals,
    values: Mapping[str, Floats],
    arms: Mapping[str, str],
) -> dict[str, BettingInterval]:
    """Confidence sequences of the differences of all metrics with bounds.

    Parameters
    ----------
    spec : AnalysisSpec
    arrivals : Arrivals
    values : mapping of metric to ndarray, shape (n_units,)
        NaN where a unit has none.
    arms : mapping of live arm name to its name in the data

    Returns
    -------
    dict of "metric/arm" to BettingInterval
        Without comparisons that have no unit in one of their arms.

    Raises
    ------
    InvalidInput
        If a value lies outside its bounds, or there are more units than `MOST_UNITS`.
    """
    found = {}
    for metric in (one for one in spec.metrics if one.bounds is not None):
        for arm, name in arms.items():
            if arm == CHAMPION:
                continue
            interval = _interval(spec, metric, arrivals, values[metric.key], (arms[CHAMPION], name))
            if isinstance(interval, BettingInterval):
                found[f"{metric.key}/{arm}"] = interval
    return found


def _interval(
    spec: AnalysisSpec,
    metric: MetricSpec,
    arrivals: Arrivals,
    values: Floats,
    names: tuple[str, str],
) -> BettingInterval | Inconclusive:
    champion, challenger = (arrivals.arms.index(name) for name in names)
    inside = np.isin(arrivals.arm, (champion, challenger)) & ~np.isnan(values)
    order = np.flatnonzero(inside)
    order = order[np.argsort(arrivals.position[order], kind="stable")]
    if order.size > MOST_UNITS:
        raise InvalidInput(
            f"spec.metrics: bounds serve up to {MOST_UNITS:,} units a comparison; "
            f"{metric.key!r} has {order.size:,}.",
            field="spec.metrics",
        )
    treated = arrivals.arm[order] == challenger
    if treated.all() or not treated.any():
        return Inconclusive(reason=Reason.ARM_EMPTY)
    assert metric.bounds is not None
    low, high = metric.bounds
    shares = np.array([_share(weights_of(spec, epoch, names)) for epoch in arrivals.epochs])
    return bounded_difference(
        values[order],
        treated,
        share=shares[arrivals.epoch[order]],
        alpha=metric.alpha * (1.0 if metric.role is Role.OEC else 2.0),
        low=low,
        high=high,
    )


def _share(weights: Sequence[float]) -> float:
    champion, challenger = weights
    return challenger / (champion + challenger)
