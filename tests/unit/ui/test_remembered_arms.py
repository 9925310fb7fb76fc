"""The rollout's page tells of exceptions and of events that never arrived."""

from __future__ import annotations

from controller.flow.ports.identities import Keeping
from controller.flow.service_counts import DEPLOYMENT, EVENTS_LOST, PINS
from tests.unit.ui.conftest import Browser
from tests.unit.ui.reading import found, text_of, waiting


def test_details_tell_of_remembered_arms(omar: Browser) -> None:
    rollout = waiting(omar.world)
    page = omar.get(f"/rollouts/{rollout}")
    details = text_of(found(r'<details class="card" id="facts">(.*?)</details>', page))
    assert "Remembered arms (pins) all" in details
    assert "Exceptions of the split" not in details
    with omar.world.store.writing() as work:
        work.tallies.add(DEPLOYMENT, {(DEPLOYMENT, f"{PINS}skipped"): 1234})
        work.tallies.add("default", {(rollout, "excepted_merged"): 3, (rollout, "pin_unknown"): 2})
        counted = {"pins_refused": 4, "merged_kept_out": 5}
        work.tallies.add("default", {(rollout, name): n for name, n in counted.items()})
        work.exceptions.order_keeping(Keeping("default", rollout, 9, 1, 9))
    page = omar.get(f"/rollouts/{rollout}")
    details = text_of(found(r'<details class="card" id="facts">(.*?)</details>', page))
    assert "3 departures answered as another id of theirs" in details
    assert "SDKs know 0 of 3; 2 exposures before the pin was known" in details
    assert "4 refused by the store; an edit's exceptions are still being written" in details
    assert "5 kept out by an override, holdout or layer" in details


def test_a_loss_of_events_is_told_where_its_rollout_lived(omar: Browser) -> None:
    rollout = waiting(omar.world)
    assert 'id="events-lost"' not in omar.get(f"/rollouts/{rollout}")
    with omar.world.store.writing() as work:
        work.tallies.add("default", {("key-1", EVENTS_LOST): 30})
    told = text_of(found(r'id="events-lost">(.*?)</p>', omar.get(f"/rollouts/{rollout}")))
    assert "SDKs had to drop 30 events" in told
