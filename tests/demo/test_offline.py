"""The verdicts of the demo hold whatever the seed; here a handful, in `make verdicts` 200."""

from __future__ import annotations

import numpy as np
import pytest

from controller.assignment.hashing import BUCKETS, PPM, bucket, hash_unit
from controller.demo.bandit import load_bandit
from controller.demo.flights import Flights
from controller.demo.models import Models
from controller.demo.offline import (
    Rehearsals,
    buckets,
    click_traffic,
    demo_policies,
    flight_costs,
    flight_traffic,
    rehearse,
    table,
)
from controller.demo.rehearsal import decide
from controller.demo.scenario import rollouts

SEEDS = range(1, 6)


@pytest.fixture(scope="module")
def rehearsals(flights: Flights, models: Models) -> Rehearsals:
    return rehearse(flights.live(), models, load_bandit(), demo_policies(), seeds=SEEDS)


def test_buckets_are_those_of_the_product_s_hash() -> None:
    units = [str(n) for n in range(200)]
    enrolment, arm = buckets("a-salt", "departure", units)
    pairs = [hash_unit("a-salt", "departure", unit) for unit in units]
    assert enrolment.tolist() == [bucket(hi, PPM) for hi, _ in pairs]
    assert arm.tolist() == [bucket(lo, BUCKETS) for _, lo in pairs]


def test_the_weather_model_is_promoted_for_every_seed(rehearsals: Rehearsals) -> None:
    assert {(e.verdict, e.reason) for e in rehearsals.weather} == {("PROMOTE", "oec_shown")}
    assert all(ending.stage == 2 for ending in rehearsals.weather)


def test_the_broken_feed_is_rolled_back_before_most_people_meet_it(rehearsals: Rehearsals) -> None:
    assert {(e.verdict, e.reason) for e in rehearsals.broken_feed} == {
        ("ROLLBACK", "guardrail_harm")
    }
    assert max(ending.units for ending in rehearsals.broken_feed) < 2_000


def test_cost_alone_would_have_rolled_the_broken_feed_back_too(rehearsals: Rehearsals) -> None:
    assert {(e.verdict, e.reason) for e in rehearsals.broken_feed_by_cost} == {
        ("ROLLBACK", "oec_worse")
    }


def test_clicks_end_undecided_although_a_peeked_test_would_have_shipped(
    rehearsals: Rehearsals,
) -> None:
    for ending in rehearsals.clicks:
        assert (ending.verdict, ending.reason) == ("NO_DIFFERENCE", "horizon_not_reached")
        assert max(look.t for look in ending.looks) < 0.25
        assert max(look.z for look in ending.looks) > 2.5
        assert all(look.z < look.bound for look in ending.looks)


def test_two_equal_models_are_not_told_apart(flights: Flights, models: Models) -> None:
    live = flights.live()
    costs = flight_costs(live, models.champion)
    policy = demo_policies()["demo-flights"]
    endings = [
        decide(flight_traffic(live, costs, costs, salt=f"equal-{seed}"), policy, costly_margin=0.05)
        for seed in SEEDS
    ]
    assert {ending.verdict for ending in endings} == {"NO_DIFFERENCE"}


def test_click_traffic_stops_when_one_log_is_empty() -> None:
    log = load_bandit()
    traffic = click_traffic(log, salt="s")
    challengers = int(traffic.challenger.sum())
    champions = len(traffic.second) - challengers
    assert max(challengers, champions) == 10_000
    np.testing.assert_array_equal(
        traffic.value[traffic.challenger], log.challenger_clicks[:challengers]
    )
    np.testing.assert_array_equal(
        traffic.value[~traffic.challenger], log.champion_clicks[:champions]
    )


def test_the_table_tells_every_slot(rehearsals: Rehearsals) -> None:
    text = table(rehearsals)
    for name in ("weather", "broken feed", "broken feed by cost", "clicks"):
        assert f"| {name} |" in text


def test_the_scenario_expects_what_the_rehearsal_shows(
    rehearsals: Rehearsals, models: Models
) -> None:
    expected = [rollout.verdict for rollout in rollouts(models)]
    shown = [rehearsals.weather[0], rehearsals.broken_feed[0], rehearsals.clicks[0]]
    assert expected == [ending.verdict for ending in shown]
