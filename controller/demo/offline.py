"""The whole demo decided offline: each slot must end with its verdict, whatever the seed.

`python -m controller.demo.offline --seeds 200` prints the table of
`docs/explanation/demo-verdicts.md`. The seed enters where it does in the service: as the salt of
the assignment, through the product's own hash.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from controller.assignment.hashing import BUCKETS, PPM, prefix
from controller.demo.bandit import BanditLog, load_bandit
from controller.demo.flights import Flights, load_flights
from controller.demo.models import Models, TrainedModel, cost, train_models
from controller.demo.rehearsal import QUIET_MACHINE, Delays, Ending, Traffic, decide
from controller.demo.scenario import (
    BROKEN_FEED_SLOT,
    CLICKS_SLOT,
    CLICKS_UNIT,
    COSTLY_MARGIN,
    FLIGHTS_SLOT,
    FLIGHTS_UNIT,
    WEEK_SECONDS,
    YEAR_SECONDS,
    policies,
    salt_of,
)
from controller.experiments.policies import Policy


def buckets(salt: str, unit_type: str, units: Sequence[str]) -> tuple[NDArray[np.int64], ...]:
    """Enrolment in [0, 1e6) and arm bucket in [0, 10000) of every unit, each of shape (n,)."""
    head = prefix(salt, unit_type)
    raw = b"".join(sha256(head + unit.encode()).digest()[:8] for unit in units)
    pairs = np.frombuffer(raw, dtype=">u4").reshape(-1, 2).astype(np.int64)
    return (pairs[:, 0] * PPM) >> 32, (pairs[:, 1] * BUCKETS) >> 32


def flight_costs(flights: Flights, model: TrainedModel) -> NDArray[np.float64]:
    """What each flight would have cost under a model, NaN where it never arrived."""
    return np.where(flights.known, cost(model.alerts(flights.features), flights.late), np.nan)


def flight_traffic(
    flights: Flights,
    champion: NDArray[np.float64],
    challenger: NDArray[np.float64],
    *,
    salt: str,
    year_seconds: float = YEAR_SECONDS,
) -> Traffic:
    """One seed's traffic of a slot whose units are the live departures.

    Parameters
    ----------
    flights : Flights
        April to December.
    champion, challenger : ndarray, shape (n_flights,)
        `flight_costs` of both models.
    """
    minutes = (flights.predict_minute - flights.predict_minute[0]).astype(np.float64)
    enrolment, arm = buckets(salt, FLIGHTS_UNIT, [str(name) for name in flights.flight_id])
    meets = arm >= BUCKETS // 2
    return Traffic(
        second=minutes / minutes[-1] * year_seconds,
        enrolment=enrolment,
        challenger=meets,
        value=np.where(meets, challenger, champion),
        better=-1,
    )


def click_traffic(log: BanditLog, *, salt: str, week_seconds: float = WEEK_SECONDS) -> Traffic:
    """One seed's traffic of the recommendation slot, until one arm's log is empty."""
    enrolment, arm = buckets(salt, CLICKS_UNIT, log.unit_ids)
    meets = arm >= BUCKETS // 2
    taken = {True: np.cumsum(meets) - 1, False: np.cumsum(~meets) - 1}
    logs = {True: log.challenger_clicks, False: log.champion_clicks}
    served = int(min(np.searchsorted(taken[side], len(logs[side])) for side in logs))
    row = np.where(meets, taken[True], taken[False])[:served]
    clicked = np.where(
        meets[:served],
        log.challenger_clicks[np.minimum(row, len(log.challenger_clicks) - 1)],
        log.champion_clicks[np.minimum(row, len(log.champion_clicks) - 1)],
    )
    return Traffic(
        second=log.arrival_second[:served] / log.arrival_second[-1] * week_seconds,
        enrolment=enrolment[:served],
        challenger=meets[:served],
        value=clicked.astype(np.float64),
        better=1,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsals:
    """Endings per slot over seeds, in the order of the seeds."""

    weather: tuple[Ending, ...]
    broken_feed: tuple[Ending, ...]
    broken_feed_by_cost: tuple[Ending, ...]
    clicks: tuple[Ending, ...]

    def shares(self) -> dict[str, float]:
        """Share of the seeds that ended with the slot's verdict, judged as in the demo."""
        expected = {
            "weather": "PROMOTE",
            "broken_feed": "ROLLBACK",
            "clicks": "NO_DIFFERENCE",
        }
        return {
            name: sum(ending.verdict == verdict for ending in getattr(self, name))
            / len(getattr(self, name))
            for name, verdict in expected.items()
        }


def rehearse(
    flights: Flights,
    models: Models,
    log: BanditLog,
    rules: Mapping[str, Policy],
    *,
    seeds: Sequence[int],
    year_seconds: float = YEAR_SECONDS,
    delays: Delays = QUIET_MACHINE,
) -> Rehearsals:
    """Every slot under every seed.

    Parameters
    ----------
    flights : Flights
        April to December.
    rules : mapping
        The demo's policies by name.

    Returns
    -------
    Rehearsals
        `broken_feed_by_cost` is the broken feed judged by its cost alone, without the guardrail.
    """
    costs = {name: flight_costs(flights, getattr(models, name)) for name in Models.__slots__}
    endings: dict[str, list[Ending]] = {field.name: [] for field in fields(Rehearsals)}
    for seed in seeds:
        for name, slot in (("weather", FLIGHTS_SLOT), ("broken_feed", BROKEN_FEED_SLOT)):
            traffic = flight_traffic(
                flights,
                costs["champion"],
                costs[name],
                salt=salt_of(slot, seed),
                year_seconds=year_seconds,
            )
            policy = rules["demo-flights"]
            ending = decide(traffic, policy, costly_margin=COSTLY_MARGIN, delays=delays)
            endings[name].append(ending)
            if name == "broken_feed":
                endings["broken_feed_by_cost"].append(decide(traffic, policy, delays=delays))
        clicks = click_traffic(log, salt=salt_of(CLICKS_SLOT, seed))
        endings["clicks"].append(decide(clicks, rules["demo-clicks"], delays=delays))
    return Rehearsals(**{name: tuple(found) for name, found in endings.items()})


def demo_policies() -> dict[str, Policy]:
    """The demo's policies as the service reads them, by name."""
    return {name: Policy.from_document(document) for name, document in policies().items()}


def table(rehearsals: Rehearsals) -> str:
    """A Markdown table: per slot, how often it ended how, and when."""
    lines = [
        "| slot | endings | second (5, 50, 95 %) | analysed units (median) | looks (median) |",
        "|---|---|---|---|---|",
    ]
    for field in fields(Rehearsals):
        endings: tuple[Ending, ...] = getattr(rehearsals, field.name)
        counted = Counter(f"{ending.verdict} ({ending.reason})" for ending in endings)
        shown = ", ".join(f"{name} {number}" for name, number in counted.most_common())
        low, middle, high = np.percentile([e.second for e in endings], [5, 50, 95])
        units = np.median([ending.units for ending in endings])
        looks = np.median([len(ending.looks) for ending in endings])
        lines.append(
            f"| {field.name.replace('_', ' ')} | {shown} | {low:.0f}, {middle:.0f}, {high:.0f} "
            f"| {units:,.0f} | {looks:.0f} |"
        )
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table over the asked number of seeds; 0 if every verdict holds for 98 %."""
    parser = argparse.ArgumentParser(prog="controller.demo.offline", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many (default 200)")
    parser.add_argument("--year-seconds", type=float, default=YEAR_SECONDS)
    parser.add_argument("--maturing", type=float, default=QUIET_MACHINE.maturing)
    parser.add_argument("--reacting", type=float, default=QUIET_MACHINE.reacting)
    asked = parser.parse_args(arguments)
    flights = load_flights()
    rehearsals = rehearse(
        flights.live(),
        train_models(flights.history()),
        load_bandit(),
        demo_policies(),
        seeds=range(1, asked.seeds + 1),
        year_seconds=asked.year_seconds,
        delays=Delays(maturing=asked.maturing, reacting=asked.reacting),
    )
    sys.stdout.write(table(rehearsals))
    return 0 if min(rehearsals.shares().values()) >= 0.98 else 1


if __name__ == "__main__":
    sys.exit(main())
