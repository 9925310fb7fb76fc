"""A margin on rare failures, looked at twenty times: never shown by failures that do not come."""

from __future__ import annotations

import numpy as np
import pytest

from controller.stats.group_sequential import SequentialPlan, boundaries
from controller.stats.results import Inconclusive
from controller.stats.score import ArmMoments, EpochMoments, Law, Null, score

LOOKS, RUNS = 20, 1000


def arm(hits: int, n: int) -> ArmMoments:
    return ArmMoments(n=n, mean=hits / n, m2=hits * (1.0 - hits / n), nonzero=hits)


def claimed(champion: float, margin: float, units: int, law: Law | None) -> float:
    """Share of runs that call a challenger "not worse" which fails more often by the margin."""
    rng = np.random.default_rng(41)
    step = units // LOOKS
    plan = SequentialPlan(alpha=0.025, sides=1)
    looks = boundaries(plan, [k / LOOKS for k in range(1, LOOKS + 1)])
    shares = (champion, champion + margin)
    hits = [np.cumsum(rng.binomial(step, p, (RUNS, LOOKS)), axis=1).tolist() for p in shares]
    wrong = 0
    for first, second in zip(*hits, strict=True):
        for number, (a, b, look) in enumerate(zip(first, second, looks, strict=True), 1):
            n = number * step
            epoch = EpochMoments(epoch=0, control=arm(a, n), treatment=arm(b, n))
            seen = score([epoch], null=Null(shift=margin), law=law)
            if not isinstance(seen, Inconclusive) and -seen.z >= look.critical_value:
                wrong += 1
                break
    return wrong / RUNS


@pytest.mark.calibration
@pytest.mark.parametrize(
    ("champion", "margin", "units", "most"),
    [(0.0, 0.02, 500, 0.025), (0.05, 0.02, 2000, 0.025), (0.001, 0.002, 4000, 0.045)],
)
def test_the_margins_own_variance_keeps_the_level(
    champion: float, margin: float, units: int, most: float
) -> None:
    """Two standard errors of .005 above; where single hits decide, the normal law is worth .045."""
    assert claimed(champion, margin, units, "binary") <= most + 0.01


@pytest.mark.calibration
def test_the_variance_of_what_did_not_happen_does_not() -> None:
    """The wrong way: about the common mean alone, the margin is all the variance there is."""
    assert claimed(0.0, 0.02, 500, None) > 0.4
