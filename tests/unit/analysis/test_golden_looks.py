"""Evidence of whole chains of looks, to the byte: a change of a number here is never an accident.

The inputs are whole numbers and exactly rounded sums, so every machine has the same ones. Where a
change is meant, `python -m tests.unit.analysis.test_golden_looks` writes the digests anew.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from controller.aggregation.statistics import Moments
from controller.aggregation.sums import Contribution, Sums
from controller.analysis.look import take_look
from controller.analysis.report import LookInput
from controller.experiments.canonical import sha256_of
from controller.experiments.metrics import Direction, MetricType
from controller.experiments.plans import Plan, challenger_names
from controller.experiments.policies import Futility, Mode, OecRules, OnNoDifference
from controller.experiments.slots import Goal, Guardrail
from tests.worlds import EVEN, binary, metric, plan, statistics

GOLDEN = Path(__file__).parent / "golden_looks.json"
UNEVEN = {"champion": 0.75, "challenger": 0.25}
THREE = dict.fromkeys(("champion", *challenger_names(2)), 1.0 / 3.0)
ERRORS = metric("errors", direction=Direction.DECREASE)
REVENUE = metric("revenue", type=MetricType.MEAN)
PRICE = metric("price", type=MetricType.RATIO, denominator="orders", lookback_seconds=60.0)

Cells = Callable[[int], dict[tuple[str, int, str], Moments]]


def exact(values: list[float], history: list[float]) -> Moments:
    """Moments of few values, each sum rounded once."""
    n = len(values)
    mean, before = math.fsum(values) / n, math.fsum(history) / n
    pairs = [(x - before, y - mean) for x, y in zip(history, values, strict=True)]
    return Moments(
        n=n,
        nonzero=sum(value != 0.0 for value in values),
        mean=mean,
        m2=math.fsum(y * y for _, y in pairs),
        covariate_n=n,
        covariate_mean=before,
        covariate_m2=math.fsum(x * x for x, _ in pairs),
        covariate_cross_m2=math.fsum(x * y for x, y in pairs),
    )


def revenue(n: int, step: int, lift: float) -> Moments:
    history = [float((i * step) % 97) for i in range(1, n + 1)]
    noise = [float((i * step * 53) % 89) for i in range(1, n + 1)]
    both = zip(history, noise, strict=True)
    return exact([0.5 * x + 0.25 * e + lift for x, e in both], history)


def prices(n: int, step: int, lift: float) -> Moments:
    """Spend over orders, and both before: sums of whole numbers."""
    parts = []
    for i in range(1, n + 1):
        orders, before = 1 + (i * step) % 7, 2 + (i * step) % 11
        own = 5 + (i * step * 53) % 13
        spend = orders * own * lift + (i * step) % 3
        parts.append(Contribution(spend, orders, 1.0 * before * own, second=1.0 * before))
    return Sums.of(parts).moments()


def shares(arms: Mapping[str, tuple[float, float]], *, epochs: int = 1) -> Cells:
    """Conversions and errors of each arm, a fixed share of its units."""

    def cells(look: int) -> dict[tuple[str, int, str], Moments]:
        found = {}
        for epoch in range(min(epochs, 1 + look // 10)):
            for arm, (converted, failed) in arms.items():
                n = 100 * (look if epoch == 0 else look - 9)
                found["conversion", epoch, arm] = binary(n, round(converted * n))
                found["errors", epoch, arm] = binary(n, round(failed * n))
        return found

    return cells


def watched(rules: OecRules, weights: Mapping[str, float] = EVEN) -> Plan:
    guard = {"errors": (ERRORS, Guardrail(metric="errors", margin_relative=0.2))}
    return plan(horizon=6000, guardrails=guard, weights=weights, rules=rules)


def worlds() -> dict[str, tuple[Plan, Cells]]:
    two = {"champion": (0.10, 0.004), "challenger": (0.12, 0.012)}
    none = {"champion": (0.10, 0.004), "challenger": (0.101, 0.004)}
    many = dict(zip(THREE, [(0.10, 0.004), (0.13, 0.004), (0.09, 0.02)], strict=True))
    keeps = OecRules(
        futility=Futility.NONE, reserve=0.005, on_no_difference=OnNoDifference.KEEP_TESTING
    )
    not_worse = plan(
        horizon=6000,
        goal=Goal.NOT_WORSE,
        margin=0.01,
        guardrails={"errors": (ERRORS, Guardrail(metric="errors", margin=0.005))},
    )

    def money(look: int) -> dict[tuple[str, int, str], Moments]:
        return {
            ("revenue", 0, "champion"): revenue(20 * look, 31, 0.0),
            ("revenue", 0, "challenger"): revenue(20 * look, 43, 2.0),
        }

    def priced(look: int) -> dict[tuple[str, int, str], Moments]:
        found = {}
        for epoch in range(1 + look // 20):
            n = 10 * (look if epoch == 0 else look - 19)
            found["price", epoch, "champion"] = prices(3 * n, 31, 1.0)
            found["price", epoch, "challenger"] = prices(n, 43, 1.25)
        return found

    return {
        "even": (watched(OecRules()), shares(two)),
        "no difference": (watched(OecRules()), shares(none)),
        "any time": (watched(OecRules(mode=Mode.ANYTIME)), shares(two)),
        "with a reserve": (watched(keeps), shares(none)),
        "not worse": (not_worse, shares(none)),
        "uneven, two epochs": (watched(OecRules(), UNEVEN), shares(two, epochs=2)),
        "three arms": (watched(OecRules(), THREE), shares(many)),
        "revenue with a covariate": (
            plan(horizon=1000, oec=REVENUE, rules=OecRules(mode=Mode.ANYTIME)),
            money,
        ),
        "a ratio with its past, uneven, two epochs": (
            plan(
                horizon=1600,
                oec=PRICE,
                goal=Goal.NOT_WORSE,
                margin=0.5,
                weights=UNEVEN,
                rules=OecRules(futility=Futility.NONE),
            ),
            priced,
        ),
    }


def digest(chosen: Plan, cells: Cells) -> str:
    """Of forty looks in a row: what each concludes and remembers, not how its plan is written."""
    said = []
    memory: dict[str, Any] | None = None
    for number in range(1, 41):
        found = cells(number)
        weights = (chosen.weights,) * (1 + max(epoch for _, epoch, _ in found))
        seen = statistics(found, weights=weights)
        report = take_look(LookInput(plan=chosen, statistics=seen, number=number, previous=memory))
        memory = json.loads(json.dumps(report.memory))
        document = report.document()
        said.append([document["srm"], document["metrics"], memory])
    return sha256_of(said)


@pytest.mark.parametrize("name", sorted(worlds()))
def test_looks_are_what_they_were_to_the_byte(name: str) -> None:
    assert digest(*worlds()[name]) == json.loads(GOLDEN.read_text())[name]


if __name__ == "__main__":
    fresh = {name: digest(*world) for name, world in sorted(worlds().items())}
    GOLDEN.write_text(json.dumps(fresh, indent=1) + "\n")
