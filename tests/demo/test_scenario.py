"""What the demo puts before the service is legal and says what it means to."""

from __future__ import annotations

from controller.demo.flights import Flights
from controller.demo.models import Models
from controller.demo.offline import demo_policies
from controller.demo.scenario import (
    APPROVERS,
    AUTHOR,
    HEADLESS_YEAR_SECONDS,
    YEAR_SECONDS,
    metrics,
    rollouts,
)
from controller.experiments.metrics import Metric, ZeroMeans
from controller.experiments.models import Model
from controller.experiments.policies import Autonomy, Futility, Mode
from controller.experiments.slots import Slot


def test_definitions_are_legal_and_refer_to_each_other(models: Models) -> None:
    known = {key: Metric.from_document(document, key=key) for key, document in metrics().items()}
    named = demo_policies()
    for rollout in rollouts(models):
        slot = Slot.from_document(rollout.definition, key=rollout.slot)
        assert set(slot.metrics) <= set(known)
        assert slot.policy in named
        assert rollout.request["slot"] == rollout.slot
        (challenger,) = rollout.request["challengers"]
        assert Model.from_document(challenger).identity != slot.champion.identity


def test_the_author_of_a_challenger_is_no_approver(models: Models) -> None:
    for rollout in rollouts(models):
        (challenger,) = rollout.request["challengers"]
        assert challenger["authors"] == [AUTHOR]
        assert rollout.request["owner"] == AUTHOR
    assert AUTHOR not in APPROVERS
    assert len(set(APPROVERS)) == 2


def test_a_promotion_needs_two_people_and_a_retreat_needs_none() -> None:
    for policy in demo_policies().values():
        gate = policy.approvals["promote"]
        assert gate.quorum == 2
        assert not gate.requester_may_approve
        assert policy.autonomy is Autonomy.L3
        assert policy.autonomy.retreats
        assert not policy.autonomy.promotes


def test_the_plan_is_the_documented_one() -> None:
    for policy in demo_policies().values():
        assert policy.oec.horizon == 80_000
        assert policy.oec.alpha == 0.05
        assert policy.oec.mode is Mode.PLANNED
        assert policy.oec.first_look == 0.05
        assert policy.oec.futility is Futility.NONE
    flights = demo_policies()["demo-flights"]
    assert [stage.enrolled for stage in flights.ramp] == [0.1, 0.5, 1.0]


def test_a_flight_without_arrival_is_unknown_and_a_visit_without_click_is_none() -> None:
    known = {key: Metric.from_document(document, key=key) for key, document in metrics().items()}
    assert known["cost-per-departure"].zero_means is ZeroMeans.UNKNOWN
    assert known["costly-departures"].zero_means is ZeroMeans.UNKNOWN
    assert known["clicks-per-visit"].zero_means is ZeroMeans.ZERO


def test_windows_leave_the_slowest_aircraft_a_tenfold_margin(flights: Flights) -> None:
    live = flights.live()
    waited = int((live.arrived_minute - live.predict_minute)[live.known].max())
    span = int(live.predict_minute[-1] - live.predict_minute[0])
    for seconds in (YEAR_SECONDS, HEADLESS_YEAR_SECONDS):
        slowest = waited / span * seconds
        for document in metrics().values():
            assert document["window_seconds"] > 6 * slowest
