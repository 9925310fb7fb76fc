"""One unit after the other through an edit of the weights, with windows open at that moment.

A world without an effect: both arms convert alike. But the base rate rises while the rollout runs,
and the challenger's conversions take longer to show. At half time the weights are edited from 50/50
to 20/80. Assignment, placing, strata, folding, sums and looks are the product's own; a wrong way
differs from it in one function, the one that says whether and where a unit's value counts.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from controller.aggregation.attribution import Happened, micros
from controller.aggregation.exposures import Opened, Split, Target
from controller.aggregation.statistics import Epoch, Freshness, Statistics
from controller.aggregation.sums import Contribution, Sums
from controller.analysis.look import take_look
from controller.analysis.report import LookInput, LookReport
from controller.assignment.hashing import PPM
from controller.assignment.runs import arm_shares, build_runs, retire
from controller.experiments.plans import Plan
from tests import worlds

DAY: Final = 86_400.0
WINDOW_DAYS: Final = 3.0
EDIT_DAY: Final = 5.0
LAST_DAY: Final = 10.0
LOOK_DAYS: Final = (4.0, 5.0, 6.0, 7.5, 9.0, 11.0, 13.0)
UNITS: Final = 4000
EVEN: Final = {"champion": 0.5, "challenger": 0.5}
EDITED: Final = {"champion": 0.2, "challenger": 0.8}
METRIC: Final = worlds.metric("conversion", window_seconds=WINDOW_DAYS * DAY)
RULESETS: Final = (10, 20)


def at(day: float) -> int:
    return micros(day * DAY)


class Lived(NamedTuple):
    """One unit: its first exposure, and when it converts (None if it never does)."""

    series: int
    unit: str
    epoch: int
    arm: str
    exposed_us: int
    converts_us: int | None

    @property
    def closes_us(self) -> int:
        return self.exposed_us + at(WINDOW_DAYS)

    def outcomes(self, until_us: int) -> Sequence[Happened]:
        """What has arrived by then."""
        if self.converts_us is None or self.converts_us > until_us:
            return ()
        return (Happened(self.converts_us, self.unit, METRIC.outcome, 1.0, None),)


Counted = tuple[int, Contribution] | None
Rule = Callable[[Target, Lived, int], Counted]
"""(rollout, unit, now) -> the epoch in which it counts and what it contributes, or None."""


# ---------------------------------------------------------------- ours, and the wrong ways


def whole_windows(target: Target, lived: Lived, now_us: int) -> Counted:
    """Ours: once, complete, in the stratum that the edit leaves it in."""
    if lived.closes_us > now_us:
        return None
    epoch = target.stratum(lived, lived.closes_us)
    if epoch is None:
        return None
    return epoch, target.folds[METRIC.key](lived.exposed_us, lived.outcomes(now_us))


def cut_at_the_edit(target: Target, lived: Lived, now_us: int) -> Counted:
    """Open windows are closed at the edit: what had arrived by then is the value."""
    closes = lived.closes_us
    if lived.exposed_us < at(EDIT_DAY) < closes:
        closes = at(EDIT_DAY)
    if closes > now_us:
        return None
    return lived.epoch, target.folds[METRIC.key](lived.exposed_us, lived.outcomes(closes))


def as_outcomes_arrive(target: Target, lived: Lived, now_us: int) -> Counted:
    """A unit counts as soon as it has converted; without a conversion when its window ends."""
    known = lived.outcomes(now_us)
    if not known and lived.closes_us > now_us:
        return None
    epoch = target.stratum(lived, lived.closes_us)
    return None if epoch is None else (epoch, target.folds[METRIC.key](lived.exposed_us, known))


def open_windows_too(target: Target, lived: Lived, now_us: int) -> Counted:
    """Every exposed unit counts with what it has shown so far."""
    if lived.exposed_us > now_us:
        return None
    epoch = target.stratum(lived, lived.closes_us)
    if epoch is None:
        return None
    return epoch, target.folds[METRIC.key](lived.exposed_us, lived.outcomes(now_us))


def survivors_left_behind(target: Target, lived: Lived, now_us: int) -> Counted:
    """The retired leave, but the others stay in the epoch in which they were exposed."""
    found = whole_windows(target, lived, now_us)
    return None if found is None else (lived.epoch, found[1])


# ---------------------------------------------------------------- one rollout


def rollout(salt: str) -> Target:
    """50/50, edited to 20/80 on the fifth day."""
    runs = build_runs(EVEN)
    return Target(
        project="default",
        rollout="r1",
        slot="slot",
        unit_type="customer",
        salt=salt,
        metrics={METRIC.key: METRIC},
        arms=tuple(EVEN),
        splits=[
            Split(number=1, runs=runs),
            Split(
                number=2,
                runs=runs,
                retired=retire(runs, (), EDITED),
                opened_us=at(EDIT_DAY),
            ),
        ],
        epochs=[
            Opened(number=number, allocation=number, enrolled_ppm=PPM, ruleset=ruleset)
            for number, ruleset in enumerate(RULESETS, start=1)
        ],
    )


def live(target: Target, rng: np.random.Generator) -> list[Lived]:
    """Units in order of arrival; conversions rise from 5 to 65 % of them, in both arms alike."""
    days = np.sort(rng.uniform(0.0, LAST_DAY, UNITS))
    converts = rng.random(UNITS) < 0.05 + 0.60 * days / LAST_DAY
    delay = rng.random(UNITS)
    lived = []
    for number, day in enumerate(days):
        unit, allocation = f"u{number}", 1 + (day >= EDIT_DAY)
        arm = target.bucket_arm(unit, allocation)
        if arm is None:
            continue
        placed = target.place(
            unit, allocation=allocation, arm=arm, ruleset=RULESETS[allocation - 1]
        )
        assert placed is not None
        # The champion's conversions show within a day, the challenger's in the last two of three.
        waits = delay[number] if arm == "champion" else 1.0 + 1.9 * delay[number]
        lived.append(
            Lived(
                placed.series,
                unit,
                placed.epoch,
                arm,
                at(day),
                at(day + waits) if converts[number] else None,
            )
        )
    return lived


def planned() -> Plan:
    """Its clock runs out a little before the last windows close."""
    return worlds.plan(oec=METRIC, horizon=3000)


def snapshot(target: Target, lived: Sequence[Lived], rule: Rule, day: float) -> Statistics:
    """What a look sees on that day."""
    parts: dict[tuple[int, str], list[Contribution]] = defaultdict(list)
    exposed: Counter[tuple[int, str]] = Counter()
    for unit in lived:
        if unit.exposed_us <= at(day):
            exposed[unit.epoch, unit.arm] += 1
        counted = rule(target, unit, at(day))
        if counted is not None:
            parts[counted[0], unit.arm].append(counted[1])
    return statistics(target, {cell: Sums.of(mine) for cell, mine in parts.items()}, exposed)


def statistics(
    target: Target, sums: Mapping[tuple[int, str], Sums], exposed: Mapping[tuple[int, str], int]
) -> Statistics:
    runs = build_runs(EVEN)
    retired = ((), retire(runs, (), EDITED))
    return Statistics(
        watermark="2026-01-01T00:00:00Z",
        taken_at="2026-01-01T00:00:00Z",
        epochs=tuple(
            Epoch(
                number=number,
                allocation=number,
                enrolled=1.0,
                weights={arm: float(part) for arm, part in arm_shares(runs, gone).items()},
            )
            for number, gone in enumerate(retired, start=1)
        ),
        exposed=dict(exposed),
        moments={(METRIC.key, *cell): mine.moments() for cell, mine in sums.items()},
        grids={},
        open_units={},
        freshness={METRIC.key: Freshness(age_seconds=1.0)},
        excluded={},
    )


def run(rule: Rule, rng: np.random.Generator, *, days: Sequence[float] = LOOK_DAYS) -> LookReport:
    """A whole rollout, looked at on these days; the last report."""
    target = rollout(rng.bytes(8).hex())
    lived = live(target, rng)
    the_plan, previous, report = planned(), None, None
    for number, day in enumerate(days, start=1):
        seen = snapshot(target, lived, rule, day)
        report = take_look(
            LookInput(plan=the_plan, statistics=seen, number=number, previous=previous)
        )
        previous = report.memory
    assert report is not None
    return report


class Rates(NamedTuple):
    """Shares of runs with their Monte Carlo standard error at the nominal level.

    `lean` is the mean of the last look's z, in units of its own standard error: within about 2 of
    zero where nothing is biased.
    """

    claims: float
    srm: float
    error: float
    lean: float


def rates(rule: Rule, *, runs: int, seed: int, days: Sequence[float] = LOOK_DAYS) -> Rates:
    """How often a true null is rejected, either way, and how often the split is called broken."""
    rng = np.random.default_rng(seed)
    claims = alarms = 0
    last: list[float] = []
    for _ in range(runs):
        report = run(rule, rng, days=days)
        test = report.metrics[0].comparisons[0].tests[0]
        crossed = test.crossed
        last.append(test.z or 0.0)
        claims += crossed is not None and crossed.direction in ("better", "worse")
        alarms += report.srm.alarm
    lean = float(np.mean(last)) * math.sqrt(runs)
    return Rates(claims / runs, alarms / runs, math.sqrt(0.05 * 0.95 / runs), lean)


WRONG: Final[Mapping[str, Rule]] = {
    "open windows cut at the edit": cut_at_the_edit,
    "entered when the outcome arrived": as_outcomes_arrive,
    "open windows tested": open_windows_too,
    "survivors left in their epoch": survivors_left_behind,
}
