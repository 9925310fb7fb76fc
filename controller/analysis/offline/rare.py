"""What few hits say, without any variance: the rate ratio of two arms, valid at every look."""

from __future__ import annotations

from typing import Any

from controller.analysis.memory import finite_or_none
from controller.analysis.pairs import Pair
from controller.experiments.metrics import Direction, Metric, MetricType
from controller.stats.counts import EpochEvents, rate_ratio
from controller.stats.results import Inconclusive
from controller.stats.score import BURN_IN_NONZERO

# Hits' worth of prior: few, because this serves few hits.
_CONCENTRATION = 4.0


def rare_hits(pair: Pair, *, alpha: float) -> dict[str, Any]:
    """Exact rate ratio of units that were hit, where an arm has fewer than 25; else nothing.

    Parameters
    ----------
    pair : Pair
    alpha : float
        Two-sided, of the confidence sequence.

    Returns
    -------
    dict
        Empty, or `rare` with the hits of champion and challenger, ratio, ci, p and e-value against
        equal shares (`stats/counts.py`: each hit a draw between the arms). An open end is None.
        Empty too where every unit is hit: nothing differs there.
    """
    if not _is_hit_or_not(pair.metric):
        return {}
    hits = (
        sum(champion.nonzero for _, champion, _ in pair.epochs),
        sum(challenger.nonzero for _, _, challenger in pair.epochs),
    )
    if min(hits) >= BURN_IN_NONZERO or sum(hits) == pair.units:
        return {}
    seen = [
        EpochEvents(control=champion.nonzero, treatment=challenger.nonzero, share=share)
        for (_, champion, challenger), share in zip(pair.epochs, pair.shares, strict=True)
        if 0.0 < share < 1.0
    ]
    found = rate_ratio(seen, alpha=alpha, concentration=_CONCENTRATION)
    if isinstance(found, Inconclusive):
        return {}
    return {
        "rare": {
            "hits": list(hits),
            "rate_ratio": finite_or_none(found.ratio),
            "ci": [found.lower, finite_or_none(found.upper)],
            "p": found.p_value,
            "e_value": found.e_value,
        }
    }


def _is_hit_or_not(metric: Metric) -> bool:
    """Whether the share of units that are hit says something of its own.

    Of a count of what is bad, units with any event are counted once each: events of one unit are no
    independent draws. That describes; the mean, which decides, is another number.
    """
    return metric.type is MetricType.BINARY or (
        metric.type is MetricType.COUNT and metric.direction is Direction.DECREASE
    )
