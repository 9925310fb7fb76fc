"""Several deciding metrics of one experiment: claims that stand beside each other, or in order.

Each metric's own test controls its own error. A family controls the chance of any false claim: by
Holm over all metrics and challengers, or in the order of the description, each claim at the full
alpha until one fails. The p-values are those the tests report: valid at every look for an anytime
metric, stagewise for a planned one that has stopped, else of the one look.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from controller.analysis.offline.spec import AnalysisSpec, Mode, Multiplicity, Role
from controller.stats.multiplicity import holm

_CLAIMS = ("better", "worse")


def corrected(document: dict[str, Any], spec: AnalysisSpec) -> dict[str, Any]:
    """The report with an `adjusted_p` for every claim of the family; what it refutes is taken back.

    Unchanged where the description asks for no correction. A claim without a p counts with 1.
    """
    if spec.multiplicity is Multiplicity.NONE:
        return document
    deciding = [metric for metric in spec.metrics if metric.role is Role.OEC]
    family = [
        (metric, comparison)
        for metric in deciding
        if metric.key in document["metrics"]
        for comparison in document["metrics"][metric.key]["comparisons"].values()
    ]
    found = [
        comparison["fixed" if metric.mode is Mode.FIXED else "sequential"]["p"]
        for metric, comparison in family
    ]
    adjusted = adjust([1.0 if p is None else p for p in found], spec.multiplicity)
    for (metric, comparison), p in zip(family, adjusted, strict=True):
        comparison["adjusted_p"] = p
        if comparison["verdict"] in _CLAIMS and p > metric.alpha:
            comparison |= {"verdict": "inconclusive", "reason": "not_after_correction"}
    return document | {"multiplicity": spec.multiplicity.value}


def adjust(p_values: Sequence[float], method: Multiplicity) -> list[float]:
    """Adjusted p-values, in the order given: claim where at most alpha.

    References
    ----------
    .. [1] Holm (1979), Scand. J. Statist. 6(2); Maurer, Hothorn and Lehmacher (1995) for the fixed
       sequence, in which a claim's p is the largest up to it.
    """
    if not p_values:
        return []
    if method is Multiplicity.HOLM:
        return [float(p) for p in holm(p_values)]
    return [float(p) for p in np.maximum.accumulate(np.asarray(p_values))]
