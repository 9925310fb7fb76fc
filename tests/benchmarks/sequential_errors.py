"""False alarms, power, units to decision and width of sequential tests, peers beside us.

Identical simulated streams for every method, a look after every block, six laws of outcomes. Ours
are the product's own bounds and mixture on the design-weighted score; the peers are written from
their published formulae (constants in their docstrings), because most of them cannot be installed
beside each other.

    python -m tests.benchmarks.sequential_errors [--runs 4000] [--looks 100] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from controller.stats.futility import FutilityLook, FutilityPlan, design_drift, next_futility
from controller.stats.group_sequential import SequentialPlan, boundaries
from controller.stats.mixture import critical_z, tuned_rho
from controller.stats.spending import Spending

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
ALPHA = 0.05
FIRST_LOOK = 0.05
EFFECTS = (0.0, 0.5, 1.0, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """One law of outcomes: `draw(rng, units, factor)`, factor 1 for champion."""

    name: str
    draw: Callable[[np.random.Generator, tuple[int, ...], float], Floats]
    mean: float
    variance: float
    effect: float
    moved_variance: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stream:
    """Sums by look of many runs: n units an arm, mean difference, pooled and own variances."""

    fraction: Floats
    n: Floats
    difference: Floats
    null_variance: Floats
    own_variance: Floats

    @property
    def z(self) -> Floats:
        """Design-weighted score with the null variance."""
        return self.difference / np.sqrt(np.maximum(self.null_variance * 2.0 / self.n, 1e-300))

    @property
    def plain_z(self) -> Floats:
        """Difference over its unpooled standard error, as most peers use it."""
        return self.difference / np.sqrt(np.maximum(self.own_variance * 2.0 / self.n, 1e-300))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Verdicts:
    """Per run and look: claim, giving up; and each look's half width in fixed standard errors."""

    rejects: Flags
    gives_up: Flags
    critical: Floats


Method = Callable[[Stream], Verdicts]


def laws() -> tuple[Law, ...]:
    """Three conversion rates, normal, lognormal and zero-inflated lognormal revenue."""
    return (
        *(_conversion(p, delta) for p, delta in ((0.05, 0.01), (0.2, 0.03), (0.5, 0.04))),
        Law(name="normal", draw=lambda r, n, k: r.normal(10.0 + (k - 1.0), 5.0, n), mean=10.0,
            variance=25.0, effect=0.5, moved_variance=25.0),
        _lognormal("lognormal revenue", 1.2, 1.0, 0.10),
        _lognormal("zero-inflated revenue, 6 % payers", 1.0, 0.06, 0.25),
    )  # fmt: skip


def _conversion(p: float, delta: float) -> Law:
    return Law(
        name=f"conversion {p:g}",
        draw=lambda r, n, k: (r.random(n) < p + (k - 1.0)).astype(np.float64),
        mean=p,
        variance=p * (1 - p),
        effect=delta,
        moved_variance=(p + delta) * (1 - p - delta),
    )


def _lognormal(name: str, sigma: float, share: float, lift: float) -> Law:
    mean = share * math.exp(sigma**2 / 2)
    variance = share * math.exp(2 * sigma**2) - mean**2

    def draw(r: np.random.Generator, n: tuple[int, ...], k: float) -> Floats:
        paying = r.random(n) < share if share < 1.0 else np.ones(n, dtype=np.bool_)
        return np.asarray(paying * r.lognormal(0.0, sigma, n) * (1.0 + (k - 1.0) / mean))

    return Law(name=name, draw=draw, mean=mean, variance=variance, effect=lift * mean,
               moved_variance=variance * (1 + lift) ** 2)  # fmt: skip


def fixed_units(law: Law, *, power: float = 0.9) -> float:
    """Units an arm of the fixed test with `power` at the design effect."""
    z = float(ndtri(1 - ALPHA / 2) + ndtri(power))
    return z**2 * (law.variance + law.moved_variance) / law.effect**2


def stream(law: Law, effect: float, *, runs: int, looks: int, seed: int) -> Stream:
    """Draw `runs` tests of `looks` equal blocks, N being the fixed test's size."""
    rng = np.random.default_rng(seed)
    block = max(math.ceil(fixed_units(law) / looks), 2)
    sums = np.zeros((4, runs, looks))
    for begin in range(0, runs, 50):
        rows = slice(begin, min(begin + 50, runs))
        shape = (rows.stop - rows.start, looks, block)
        for arm, factor in enumerate((1.0, 1.0 + effect)):
            y = law.draw(rng, shape, factor)
            sums[2 * arm, rows] = y.sum(axis=2).cumsum(axis=1)
            sums[2 * arm + 1, rows] = (y * y).sum(axis=2).cumsum(axis=1)
    n = block * np.arange(1.0, looks + 1.0)
    means = sums[[0, 2]] / n
    within = (sums[[1, 3]] - sums[[0, 2]] * means).sum(axis=0)
    d = means[1] - means[0]
    return Stream(
        fraction=n / n[-1],
        n=n,
        difference=d,
        null_variance=(within + n / 2.0 * d * d) / (2.0 * n - 1.0),
        own_variance=within / (2.0 * n - 2.0),
    )


# ------------------------------------------------------------------ ours


def ours(gamma: float, *, futility: bool = False) -> Method:
    """The planned test: exact Hwang-Shih-DeCani bounds, the clock's rules, optional futility."""

    def judge(s: Stream) -> Verdicts:
        counted = counted_looks(s.fraction)
        plan = SequentialPlan(alpha=ALPHA, spending=Spending(parameter=gamma))
        taken = boundaries(plan, s.fraction[counted])
        critical = np.full(s.fraction.size, np.inf)
        critical[counted] = [look.critical_value for look in taken]
        gives_up = np.zeros(s.z.shape, dtype=np.bool_)
        if futility:
            given = FutilityPlan(drift=design_drift(plan, power=0.9))
            hopeless: list[FutilityLook] = []
            for index, look in enumerate(taken):
                hopeless.append(next_futility(plan, given, taken[:index], hopeless, look))
            below = np.array([look.better_below for look in hopeless])
            above = np.array([look.worse_above for look in hopeless])
            z = s.z[:, counted]
            gives_up[:, counted] = (above < z) & (z < below)
        return Verdicts(rejects=np.abs(s.z) >= critical, gives_up=gives_up, critical=critical)

    return judge


def counted_looks(fraction: Floats) -> list[int]:
    """Which looks count: the first at 5 % of the horizon, then every two-hundredth."""
    counted: list[int] = []
    for index, t in enumerate(fraction.tolist()):
        last = fraction[counted[-1]] if counted else 0.0
        enough = t >= FIRST_LOOK if not counted else t - last >= 1.0 / 200 - 1e-12
        if enough or t >= 1.0:
            counted.append(index)
    return counted


def ours_anytime(s: Stream) -> Verdicts:
    """The always-valid mixture, tuned at half the horizon."""
    rho = tuned_rho(0.5, alpha=ALPHA)
    critical = np.array([critical_z(t / rho, alpha=ALPHA) for t in s.fraction])
    return _verdicts(s.z, critical)


# ------------------------------------------------------------------ peers, from their formulae


def fixed_once(s: Stream) -> Verdicts:
    """One look at the end."""
    critical = np.full(s.fraction.size, np.inf)
    critical[-1] = -ndtri(ALPHA / 2)
    return _verdicts(s.plain_z, critical)


def fixed_peeked(s: Stream) -> Verdicts:
    """The fixed test, looked at after every block."""
    return _verdicts(s.plain_z, np.full(s.fraction.size, -ndtri(ALPHA / 2)))


def asymptotic_sequence(tuning: float | None) -> Method:
    """gbstats' sequential test; its tuning is 5000 units unless somebody changes it."""

    def judge(s: Stream) -> Verdicts:
        units = 2.0 * s.n
        at = tuning if tuning is not None else units[-1] / 2
        rho2 = (-2 * math.log(ALPHA) + math.log(-2 * math.log(ALPHA) + 1)) / at
        grown = units * rho2 + 1.0
        critical = np.sqrt(2 * grown / (units * rho2) * np.log(np.sqrt(grown) / ALPHA))
        return _verdicts(s.plain_z, critical)

    return judge


def msprt_at(effect: float) -> Method:
    """The mSPRT (Johari et al.) with tau at the design effect."""

    def judge(s: Stream) -> Verdicts:
        variance = s.own_variance * 2.0 / s.n
        total = variance + effect**2
        bound = (
            2
            * variance
            * total
            / effect**2
            * (math.log(1 / ALPHA) + 0.5 * np.log(total / variance))
        )
        critical = np.median(np.sqrt(bound / variance), axis=0)
        rejects = s.difference**2 >= bound
        return Verdicts(rejects=rejects, gives_up=np.zeros_like(rejects), critical=critical)

    return judge


def levy_constant(s: Stream) -> Verdicts:
    """YEAST-like: one constant bound on the sum, from Levy's inequality."""
    return _verdicts(s.plain_z, -ndtri(ALPHA / 4) / np.sqrt(s.fraction))


def _verdicts(z: Floats, critical: Floats) -> Verdicts:
    rejects = np.abs(z) >= critical
    return Verdicts(rejects=rejects, gives_up=np.zeros_like(rejects), critical=critical)


def methods(law: Law) -> dict[str, Method]:
    """Every method by name, ours first."""
    return {
        "ours: planned": ours(-2.0),
        "ours: planned, futility": ours(-3.0, futility=True),
        "ours: any time": ours_anytime,
        "fixed, one look": fixed_once,
        "fixed, peeked": fixed_peeked,
        "gbstats sequential (5000)": asymptotic_sequence(5000.0),
        "asymptotic sequence, tuned N/2": asymptotic_sequence(None),
        "mSPRT, tau = effect": msprt_at(law.effect),
        "constant bound (Levy)": levy_constant,
    }


# ------------------------------------------------------------------ scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One method, one law, one effect."""

    claims: float
    expected: float
    width: float
    runs: int

    @property
    def error(self) -> float:
        """Monte Carlo standard error of `claims`."""
        return math.sqrt(max(self.claims * (1.0 - self.claims), 1e-9) / self.runs)


def mark(found: Verdicts, fraction: Floats) -> Mark:
    """Share of runs with a claim, mean share of N used, width at N over the fixed interval."""
    looks = fraction.size
    first = np.where(found.rejects.any(axis=1), found.rejects.argmax(axis=1), looks)
    quit_at = np.where(found.gives_up.any(axis=1), found.gives_up.argmax(axis=1), looks)
    claimed = (first < looks) & (first <= quit_at)
    stop = np.minimum(np.minimum(first, quit_at), looks - 1)
    return Mark(
        claims=float(claimed.mean()),
        expected=float(fraction[stop].mean()),
        width=float(found.critical[-1] / -ndtri(ALPHA / 2)),
        runs=len(first),
    )


def table(*, runs: int, looks: int, names: Sequence[str] = ()) -> dict[str, Any]:
    """law -> method -> effect multiple -> Mark."""
    out: dict[str, Any] = {}
    for number, law in enumerate(laws()):
        rows: dict[str, dict[float, Mark]] = {}
        for multiple in EFFECTS:
            s = stream(law, multiple * law.effect, runs=runs, looks=looks, seed=100 + number)
            for name, method in methods(law).items():
                if not names or name in names:
                    rows.setdefault(name, {})[multiple] = mark(method(s), s.fraction)
        out[law.name] = rows
    return out


def lines(found: dict[str, Any]) -> list[str]:
    """The table as Markdown: over the laws, the range of each figure."""
    head = (
        "| method | claims at no effect | power | ASN/N no effect | half | design | twice | width |"
    )
    rows = [head, "|" + "---|" * 8]
    for name in next(iter(found.values())):
        marks = [by_law[name] for by_law in found.values()]

        def span(pick: Callable[[dict[float, Mark]], float], digits: int, of: list[Any]) -> str:
            values = [pick(each) for each in of]
            low, high = (f"{v:.{digits}f}".replace("0.", ".") for v in (min(values), max(values)))
            return low if low == high else f"{low}-{high}"

        cells = [
            span(lambda m: m[0.0].claims, 3, marks),
            span(lambda m: m[1.0].claims, 3, marks),
            *(span(lambda m, e=e: m[e].expected, 2, marks) for e in (0.0, 0.5, 1.0, 2.0)),  # type: ignore[misc]
            span(lambda m: m[1.0].width, 2, marks),
        ]
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    return rows


def main() -> None:
    """Print the table; write every figure to --json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=4000)
    parser.add_argument("--looks", type=int, default=100)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    found = table(runs=chosen.runs, looks=chosen.looks)
    print("\n".join(lines(found)))
    if chosen.json:
        plain = {
            law: {
                name: {
                    str(effect): {
                        "claims": each.claims, "se": each.error,
                        "asn_over_n": each.expected, "width": each.width,
                    }
                    for effect, each in by_effect.items()
                }
                for name, by_effect in rows.items()
            }
            for law, rows in found.items()
        }  # fmt: skip
        chosen.json.write_text(json.dumps(plain, indent=1))


if __name__ == "__main__":
    main()
