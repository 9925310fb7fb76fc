"""Several claims of one experiment under one error: of several metrics, or of several challengers.

Each comparison's own test controls its own error. A family controls the chance of any false claim:
by Holm over all its claims, or in the order of the description, each claim at the full alpha until
one fails. The p-values are those the tests report: valid at every look for an anytime metric,
stagewise for a planned one that has stopped, else of the one look.

Challengers beside one champion are a family without being asked. A sequential test shares its alpha
between them as it goes (`rules.levels`); a fixed one is corrected here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from controller.analysis.offline.spec import AnalysisSpec, MetricSpec, Mode, Multiplicity, Role
from controller.stats.multiplicity import holm

_CLAIMS = ("better", "worse")
_Claim: TypeAlias = "tuple[MetricSpec, dict[str, Any]]"


def corrected(document: dict[str, Any], spec: AnalysisSpec) -> dict[str, Any]:
    """The report with an `adjusted_p` for every claim of a family; what it refutes is taken back.

    A claim without a p counts with 1, and so does one whose data may not be read.
    """
    deciding = [metric for metric in spec.metrics if metric.role is Role.OEC]
    if spec.multiplicity is Multiplicity.NONE:
        for metric in deciding:
            family = _claims(document, metric)
            if metric.mode is Mode.FIXED and len(family) > 1:
                _correct(family, Multiplicity.HOLM)
        return document
    _correct([claim for m in deciding for claim in _claims(document, m)], spec.multiplicity)
    return document | {"multiplicity": spec.multiplicity.value}


def _claims(document: dict[str, Any], metric: MetricSpec) -> list[_Claim]:
    return [(metric, each) for each in document["metrics"][metric.key]["comparisons"].values()]


def _correct(family: Sequence[_Claim], method: Multiplicity) -> None:
    adjusted = adjust([_p(metric, comparison) for metric, comparison in family], method)
    for (metric, comparison), p in zip(family, adjusted, strict=True):
        comparison |= {"adjusted_p": p, "adjusted_for": len(family)}
        if comparison["verdict"] in _CLAIMS and p > metric.alpha:
            comparison |= {"verdict": "inconclusive", "reason": "not_after_correction"}


def _p(metric: MetricSpec, comparison: dict[str, Any]) -> float:
    found = comparison["fixed" if metric.mode is Mode.FIXED else "sequential"]["p"]
    return 1.0 if found is None or comparison["verdict"] == "unknown" else float(found)


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
        return holm(p_values)
    return [float(p) for p in np.maximum.accumulate(np.asarray(p_values))]
