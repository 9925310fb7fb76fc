"""What one look costs: the mathematics of a metric, a look that counts, and a plan's bounds.

    python -m tests.benchmarks.bench_look [--walks 5]

Processor time, of each look the best of several walks: a busy machine measures itself otherwise. A
look that counts moves every test on by one look, with data no look has had before; the look after
it has the same units, so it does everything but count. "All pairs" is the density of the same looks
by the recursion written out, every node of one look with every node of the next.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.aggregation.statistics import Statistics
from controller.analysis import trails
from controller.analysis.look import take_look
from controller.analysis.report import LookInput
from controller.experiments.metrics import Direction
from controller.experiments.policies import Futility, OecRules
from controller.experiments.slots import Goal, Guardrail
from controller.stats.group_sequential import SequentialPlan, TakenLook, boundaries
from tests.worlds import binary, metric, plan, statistics

GUARDRAILS = 8
FROM, TO = 50, 150
STEP = 50
MARGIN = 0.02

Look = Callable[[int, Mapping[str, Any] | None], LookInput]


def world(guardrails: int, goal: Goal, futility: Futility) -> Look:
    """(units an arm, memory) -> a look at one OEC and some guardrails, each with its own rates."""
    keys = [f"guard_{number}" for number in range(guardrails)]
    chosen = plan(
        horizon=2 * STEP * 200,
        goal=goal,
        margin=MARGIN if goal is Goal.NOT_WORSE else None,
        guardrails={
            key: (metric(key, direction=Direction.DECREASE), Guardrail(metric=key, margin=MARGIN))
            for key in keys
        },
        rules=OecRules(futility=futility),
    )

    def look(n: int, previous: Mapping[str, Any] | None) -> LookInput:
        cells = {}
        for number, key in enumerate(("conversion", *keys)):
            hits = n // (7 + number)
            # Near 2 sqrt(t) from the null: the bounds stay ahead, and hope stays alive.
            hopeful = 2.0 * math.sqrt(n / (200 * STEP)) * math.sqrt(2.0 * hits * (1.0 - hits / n))
            null = 0.0 if number == 0 and goal is Goal.SUPERIOR else -MARGIN * n
            better = round(null + hopeful)
            cells[key, 0, "champion"] = binary(n, hits)
            cells[key, 0, "challenger"] = binary(n, hits + (better if number == 0 else -better))
        seen: Statistics = statistics(cells)
        return LookInput(plan=chosen, statistics=seen, number=1, previous=previous)

    return look


def walk(look: Look) -> list[tuple[float, float]]:
    """Seconds of each look that counts, and of the look after it."""
    trails.forget()
    memory, costs = None, []
    for number in range(10, TO):
        due = look(STEP * number, memory)
        began = time.process_time()
        report = take_look(due)
        counted = time.process_time() - began
        after = look(STEP * number, report.memory)
        began = time.process_time()
        take_look(after)
        costs.append((counted, time.process_time() - began))
        memory = report.memory
    assert memory is not None
    assert all(len(test["rows"]) == TO - 10 for test in memory["planned"].values())
    return costs[FROM - 10 :]


def best(look: Look, walks: int) -> tuple[float, float]:
    """Mean over the looks, each the cheapest of several walks."""
    steps = np.min([walk(look) for _ in range(walks)], axis=0)
    counted, after = np.mean(steps, axis=0).tolist()
    return counted, after


def all_pairs(plan: SequentialPlan, taken: Sequence[TakenLook]) -> float:
    """Seconds a look for the sub-density alone, with every pair of nodes multiplied out."""
    nodes, mass = np.zeros(1), np.ones(1)
    began = 0.0
    for index, (look, following) in enumerate(itertools.pairwise(taken)):
        began = time.process_time() if index == FROM else began
        rho, spread = math.sqrt(look.variance_ratio), math.sqrt(1.0 - look.variance_ratio)
        low = -look.critical_value if plan.sides == 2 else -9.0
        half = 0.5 * (look.critical_value - low)
        apart = 0.5 * min(spread, math.sqrt(1.0 / following.variance_ratio - 1.0))
        x, w = _legendre(16 * math.ceil(math.pi * half / (16.0 * apart)))
        gap = (low + half * (x[:, None] + 1.0) - rho * nodes) / spread
        density = np.exp(-0.5 * gap * gap) @ mass / (spread * math.sqrt(2.0 * math.pi))
        nodes, mass = low + half * (x + 1.0), half * w * density
    left = 1.0 - taken[-2].alpha_spent
    assert abs(float(mass.sum()) - left) < 1e-6
    return (time.process_time() - began) / (len(taken) - 1 - FROM)


@lru_cache(maxsize=256)
def _legendre(count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.polynomial.legendre.leggauss(count)


def main() -> None:
    """One line a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--walks", type=int, default=5)
    walks = parser.parse_args().walks
    few = best(world(1, Goal.SUPERIOR, Futility.NONE), walks)
    many = best(world(GUARDRAILS, Goal.SUPERIOR, Futility.NONE), walks)
    counted, plain = ((b - a) / (GUARDRAILS - 1) * 1e6 for a, b in zip(few, many, strict=True))
    print(f"looks {FROM} to {TO} of 200              us a metric")
    print(f"does not count, each further guardrail  {plain:8.0f}")
    print(f"counts, each further guardrail          {counted:8.0f}")
    for goal, sides in ((Goal.NOT_WORSE, "one-sided"), (Goal.SUPERIOR, "two-sided")):
        for futility in (Futility.NONE, Futility.NON_BINDING):
            counting, again = best(world(0, goal, futility), walks)
            gives_up = "futility" if futility is Futility.NON_BINDING else "no futility"
            print(f"counting adds: {sides}, {gives_up:<11}    {(counting - again) * 1e6:8.0f}")
    for chosen in (SequentialPlan(alpha=0.025, sides=1), SequentialPlan(alpha=0.05)):
        times = np.arange(10, TO + 1) / 200
        taken = boundaries(chosen, times)
        ours = min(_seconds(chosen, times) for _ in range(walks)) / len(taken)
        pairs = min(all_pairs(chosen, taken) for _ in range(walks))
        print(
            f"bounds alone, {chosen.sides} sides: {ours * 1e6:.0f} us a look; "
            f"the density by all pairs {pairs * 1e6:.0f} us"
        )
    whole = min(_seconds(SequentialPlan(alpha=0.05), np.arange(1, 201) / 200) for _ in range(walks))
    print(f"bounds of 200 looks {whole:27.3f} s")


def _seconds(chosen: SequentialPlan, times: NDArray[np.float64]) -> float:
    began = time.process_time()
    boundaries(chosen, times)
    return time.process_time() - began


if __name__ == "__main__":
    main()
