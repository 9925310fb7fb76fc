"""The history of one comparison as charts and tables read it: one value object a look.

A page's chart, its table, its slider and its spoken summary are all made from the same list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import NormalDist
from typing import Any, Final

from controller.flow.ports.rollouts import LookEntry

MOST_POINTS: Final = 72
DECIDING_STATES: Final = frozenset({"Ramping", "Deciding"})
BAKING_STATES: Final = frozenset({"Promoting", "Baking"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One challenger beside champion on one metric, at one look.

    Attributes
    ----------
    n : int
        Complete units of both arms.
    estimate, low, high, margin : float or None
        Challenger minus champion and its interval, in the metric's units; open ends are None.
    t : float
        Share of the planned evidence; may exceed 1.
    z, bound : float or None
        Standardised score, positive where the challenger is better, and what it must exceed.
    crossed : str or None
        Direction of the latched crossing, from the look on at which it was latched.
    """

    look: int
    at: datetime
    n: int
    state: str
    enrolled: float
    estimate: float | None
    low: float | None
    high: float | None
    margin: float | None
    t: float
    z: float | None
    bound: float | None
    crossed: str | None


def history(
    looks: Sequence[LookEntry], metric: str, arm: str, states: frozenset[str] = DECIDING_STATES
) -> list[Seen]:
    """Every look at one comparison, in order, while the rollout was in one of the states."""
    found = []
    for look in looks:
        if look.summary["state"] not in states:
            continue
        seen = look.summary["metrics"].get(metric)
        comparisons = seen["comparisons"] if seen else ()
        comparison = next((one for one in comparisons if one["arm"] == arm), None)
        if seen is not None and comparison is not None:
            found.append(_seen(look, seen, comparison))
    return found


def _seen(look: LookEntry, metric: dict[str, Any], comparison: dict[str, Any]) -> Seen:
    test = comparison["tests"][0]
    return Seen(
        look=look.number,
        at=look.taken_at,
        n=metric["n"],
        state=look.summary["state"],
        enrolled=look.summary["enrolled"],
        estimate=comparison["estimate"],
        low=comparison["low"],
        high=comparison["high"],
        margin=comparison["margin"],
        t=test["t"],
        z=test["z"],
        bound=test["bound"],
        crossed=test["crossed"],
    )


def thinned(seen: Sequence[Seen], most: int = MOST_POINTS) -> list[Seen]:
    """At most about `most` looks: evenly spread, with first, last, crossing and extreme kept."""
    if len(seen) <= most:
        return list(seen)
    step = (len(seen) - 1) / (most - 1)
    kept = {round(index * step) for index in range(most)}
    crossing = first_crossing(seen)
    if crossing is not None:
        kept.add(seen.index(crossing))
    strongest = strongest_score(seen)
    if strongest is not None:
        kept.add(seen.index(strongest))
    return [seen[index] for index in sorted(kept)]


def first_crossing(seen: Sequence[Seen]) -> Seen | None:
    """The first look that shows a latched crossing."""
    return next((one for one in seen if one.crossed is not None), None)


def strongest_score(seen: Sequence[Seen]) -> Seen | None:
    """The look whose score was furthest from zero."""
    scored = [one for one in seen if one.z is not None]
    return max(scored, key=lambda one: abs(one.z or 0.0), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Excursion:
    """Looks at which a test that ignores repeated looking would have claimed a difference.

    Attributes
    ----------
    peak : Seen
        The strongest of them.
    naive : float
        The bound of a single look at the same alpha.
    spans : tuple of (first, last)
        Unbroken runs of such looks.
    """

    peak: Seen
    naive: float
    spans: tuple[tuple[Seen, Seen], ...]

    @property
    def claims_better(self) -> bool:
        """Which way that test would have decided."""
        return (self.peak.z or 0.0) > 0


def excursion(seen: Sequence[Seen], *, alpha: float, sides: int) -> Excursion | None:
    """Where the score passed the single-look bound without passing the one in force, if anywhere.

    Parameters
    ----------
    alpha : float
        Of the whole test, over `sides` sides.
    """
    naive = NormalDist().inv_cdf(1 - alpha / sides)

    def beyond(one: Seen) -> bool:
        if one.z is None or one.crossed is not None:
            return False
        return one.z > naive or (sides == 2 and one.z < -naive)

    spans: list[tuple[Seen, Seen]] = []
    open_at: Seen | None = None
    last: Seen | None = None
    for one in seen:
        if beyond(one):
            open_at, last = open_at or one, one
        elif open_at is not None and last is not None:
            spans.append((open_at, last))
            open_at = None
    if open_at is not None and last is not None:
        spans.append((open_at, last))
    outside = [one for one in seen if beyond(one)]
    peak = strongest_score(outside)
    if peak is None:
        return None
    return Excursion(peak=peak, naive=naive, spans=tuple(spans))
