"""What one look costs: the mathematics of a metric, a look that counts, and a plan's bounds.

    python -m tests.benchmarks.bench_look [--rounds 300]

Processor time, best of seven: a busy machine measures itself otherwise.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from controller.aggregation.statistics import Statistics
from controller.analysis.look import take_look
from controller.analysis.report import LookInput, LookReport
from controller.experiments.metrics import Direction
from controller.experiments.policies import OecRules
from controller.experiments.slots import Guardrail
from controller.stats import chain
from controller.stats.group_sequential import SequentialPlan, boundaries
from tests.worlds import binary, metric, plan, statistics

GUARDRAILS = 8
COUNTED = 100


def best(action: Callable[[], object], rounds: int) -> float:
    """Seconds of processor time for one call."""
    times = []
    for _ in range(7):
        began = time.process_time()
        for _ in range(rounds):
            action()
        times.append((time.process_time() - began) / rounds)
    return min(times)


def world(guardrails: int) -> Callable[[int, Mapping[str, Any] | None], LookInput]:
    """(units an arm, memory) -> a look at one OEC and some guardrails."""
    keys = [f"guard_{number}" for number in range(guardrails)]
    chosen = plan(
        horizon=20_000,
        guardrails={
            key: (metric(key, direction=Direction.DECREASE), Guardrail(metric=key, margin=0.01))
            for key in keys
        },
        rules=OecRules(),
    )

    def look(n: int, previous: Mapping[str, Any] | None) -> LookInput:
        cells = {}
        for key in ("conversion", *keys):
            cells[key, 0, "champion"] = binary(n, n // 10)
            cells[key, 0, "challenger"] = binary(n, n // 10 + n // 100)
        seen: Statistics = statistics(cells)
        return LookInput(plan=chosen, statistics=seen, number=1, previous=previous)

    return look


def after(look: Callable[[int, Mapping[str, Any] | None], LookInput], counted: int) -> LookReport:
    """The report after `counted` looks that counted."""
    report = take_look(look(500, None))
    for number in range(1, counted):
        report = take_look(look(500 + 50 * number, report.memory))
    return report


def main() -> None:
    """One line a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    rounds = parser.parse_args().rounds
    few, many = world(1), world(GUARDRAILS)
    costs = {}
    for name, look in (("few", few), ("many", many)):
        report = after(look, COUNTED)
        again = look(500 + 50 * (COUNTED - 1), report.memory)
        due = look(500 + 50 * COUNTED, report.memory)
        costs[name] = (
            best(lambda again=again: take_look(again), rounds),  # type: ignore[misc]
            best(lambda due=due: take_look(due), max(rounds // 10, 1)),  # type: ignore[misc]
        )
    per_metric = [(costs["many"][i] - costs["few"][i]) / (GUARDRAILS - 1) * 1e6 for i in (0, 1)]
    print(f"a look, each further metric          {per_metric[0]:8.0f} us")
    print(f"a look that counts, each further     {per_metric[1]:8.0f} us, look {COUNTED + 1}")

    def bounds() -> None:
        chain._CACHE = chain._DensityCache(2048)
        boundaries(SequentialPlan(alpha=0.05), np.arange(1, 201) / 200)

    print(f"bounds of 200 looks                  {best(bounds, 1):8.2f} s")


if __name__ == "__main__":
    main()
