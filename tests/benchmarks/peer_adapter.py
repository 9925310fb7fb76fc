"""Our tests in the form that a harness of peers scores: `f(S, ctx) -> {reject, accept, half}`.

S holds, look by look, units (`n1`, `n2`), sums and sums of squares (`s1`, `s2`, `q1`, `q2`), each
[runs, looks]; ctx has `alpha`, the planned total `N` and the kind of outcome. The streams are the
harness's own, so every method sees the same numbers; bounds, mixture and the score's null variance
are the product's, through `tests.benchmarks.sequential_errors`.

    stat_peers.py --adapter tests.benchmarks.peer_adapter:planned
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tests.benchmarks.sequential_errors import Method, Stream, Verdicts, ours, ours_anytime

Adapter = Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]


def stream_of(sums: Mapping[str, Any], planned_units: int) -> Stream:
    """The harness's sums as the score reads them; both arms have the same units at each look."""
    n = np.asarray(sums["n1"], dtype=np.float64)
    means = np.asarray(sums["s1"]) / n, np.asarray(sums["s2"]) / n
    within = (sums["q1"] - sums["s1"] * means[0]) + (sums["q2"] - sums["s2"] * means[1])
    difference = means[1] - means[0]
    return Stream(
        fraction=np.minimum(2.0 * n / planned_units, 1.0),
        n=n,
        difference=difference,
        null_variance=(within + n / 2.0 * difference**2) / (2.0 * n - 1.0),
        own_variance=within / (2.0 * n - 2.0),
    )


def judged(method: Method, sums: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    """One of our methods on the harness's sums; a variance of zero shows nothing."""
    seen = stream_of(sums, int(context["N"]))
    found: Verdicts = method(seen)
    error = np.sqrt(seen.null_variance * 2.0 / seen.n)
    return {
        "reject": found.rejects & (seen.null_variance > 0.0),
        "accept": found.gives_up,
        "half": np.where(error > 0.0, found.critical, 0.0) * np.maximum(error, 1e-300),
    }


def planned(sums: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    """The planned test: exact HSD(-2) bounds, first look at 5 % of N."""
    return judged(ours(-2.0), sums, context)


def planned_with_futility(sums: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    """The planned test with HSD(-3) bounds and non-binding futility."""
    return judged(ours(-3.0, futility=True), sums, context)


def anytime(sums: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    """The always-valid mixture, tuned at N / 2."""
    return judged(ours_anytime, sums, context)


planned.name = "ours_planned"  # type: ignore[attr-defined]
planned_with_futility.name = "ours_planned_futility"  # type: ignore[attr-defined]
anytime.name = "ours_anytime"  # type: ignore[attr-defined]
