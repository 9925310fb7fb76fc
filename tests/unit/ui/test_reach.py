"""Holdouts, layers and overrides in the console: read, changed and deleted without script."""

from __future__ import annotations

import pytest

from controller.assignment.evaluate import evaluate
from controller.assignment.ruleset import Ruleset
from controller.flow.holdouts import put_holdout
from controller.flow.layers import put_layer
from controller.flow.overrides import overrides_of, set_override
from tests.browser.world import ADMIN, PROJECT, World
from tests.unit.ui.conftest import Browser
from tests.unit.ui.reading import every_page, text_of, waiting

SLOT = "late-flight-alert"
OVERRIDES = f"/slots/{SLOT}/overrides"


def ruleset(world: World) -> Ruleset:
    with world.store.reading() as work:
        newest = work.rulesets.newest(PROJECT)
    assert newest is not None
    return Ruleset.from_bytes(newest.body)


@pytest.fixture
def admin(stranger: Browser) -> Browser:
    """Somebody who may change everything."""
    stranger.sign_in("admin")
    return stranger


def test_a_policy_administrator_holds_out_changes_and_lets_go(admin: Browser) -> None:
    assert "Every unit can take part" in text_of(admin.get("/reach"))
    answer = admin.send("/reach", "/reach/holdouts", name="all", unit="departure", share="5%")
    assert answer.headers["Location"] == "/reach?done=holdout", answer.text
    told = text_of(admin.get("/reach?done=holdout"))
    assert "The holdout is in force." in told
    assert "all 5% of departures every slot" in told
    assert [one.ppm for one in ruleset(admin.world).slots[SLOT].holdouts] == [50_000]
    assert "95% of departures; 5% held out (all)" in text_of(admin.get("/slots"))
    refused = admin.send("/reach", "/reach/holdouts", name="all", unit="departure", share="5")
    assert refused.status_code == 422
    assert "did you mean 0.05" in text_of(refused.text)
    gone = admin.send("/reach", "/reach/holdouts/all/delete")
    assert gone.headers["Location"] == "/reach?done=gone"
    assert ruleset(admin.world).slots[SLOT].holdouts == ()


def test_a_layer_is_added_changed_and_deleted(admin: Browser) -> None:
    lines = f"{SLOT} = 40%\ncrew-planning = 0.5\n"
    answer = admin.send("/reach", "/reach/layers", name="flights", unit="departure", slots=lines)
    assert answer.headers["Location"] == "/reach?done=layer", answer.text
    page = text_of(admin.get("/reach"))
    assert f"{SLOT} 40% of departures" in page
    assert "Belongs to nobody 10%" in page
    assert "layer flights gives it 40%" in text_of(admin.get("/slots"))
    before = ruleset(admin.world).slots["crew-planning"].layer
    admin.send("/reach", "/reach/layers", name="flights", slots=lines.replace("40", "30"))
    assert ruleset(admin.world).slots["crew-planning"].layer == before
    for bad in ("nowhere = 10%", "late-flight-alert", f"{SLOT} = 90%\ncrew-planning = 20%"):
        refused = admin.send("/reach", "/reach/layers", name="flights", slots=bad)
        assert refused.status_code == 422, bad
        assert 'role="alert"' in refused.text
    admin.send("/reach", "/reach/layers/flights/delete")
    assert ruleset(admin.world).slots[SLOT].layer is None


def test_a_unit_is_set_by_hand_and_let_go(omar: Browser) -> None:
    assert "Nobody is set by hand" in text_of(omar.get(OVERRIDES))
    answer = omar.send(OVERRIDES, OVERRIDES, unit="flight-secret", arm="challenger")
    assert answer.headers["Location"] == f"{OVERRIDES}?done=set", answer.text
    with omar.world.store.reading() as work:
        (one,) = overrides_of(work, PROJECT, SLOT)
    page = omar.get(OVERRIDES)
    assert one.stored.unit_hash in page
    assert "flight-secret" not in page
    assert evaluate(ruleset(omar.world), SLOT, "flight-secret").reason == "OVERRIDE"
    refused = omar.send(OVERRIDES, OVERRIDES, unit="a\u0007b", arm="challenger")
    assert refused.status_code in {400, 422}
    refused = omar.send(OVERRIDES, OVERRIDES, unit="u", arm="nobody")
    assert refused.status_code == 422
    assert "expected champion" in text_of(refused.text)
    gone = omar.send(OVERRIDES, f"{OVERRIDES}/{one.stored.unit_hash}/delete")
    assert gone.headers["Location"] == f"{OVERRIDES}?done=unset"
    assert "Nobody is set by hand" in text_of(omar.get(OVERRIDES))
    omar.get("/slots/no-such-slot/overrides", status=404)


def test_without_the_role_the_page_says_which_one_it_takes(omar: Browser) -> None:
    page = omar.get("/reach")
    assert "needs the role policy_admin or admin" in text_of(page)
    assert "/reach/holdouts" not in page
    answer = omar.client.post("/reach/holdouts", data={"name": "all"})
    assert answer.status_code == 403


def test_a_rollout_says_why_not_everybody_meets_it(omar: Browser) -> None:
    world = omar.world
    document = {"unit": "departure", "share": 0.2}
    put_holdout(world.store, PROJECT, document, name="all", actor=ADMIN)
    shares = {"unit": "departure", "slots": {SLOT: 0.5}}
    put_layer(world.store, PROJECT, shares, name="flights", actor=ADMIN)
    set_override(world.store, PROJECT, SLOT, "flight-1", "challenger", actor=ADMIN)
    address = f"/rollouts/{waiting(world)}"
    page = text_of(omar.get(address))
    why = "At most 40% can take part: 20% is held out and layer flights gives the slot 50%."
    assert why in page
    assert "1 set by hand , not analysed" in page
    assert "40% of all traffic is split and analysed" in page
    assert "20% of all traffic meets it" in page
    approval = f"/approvals/{world.open_proposal(waiting(world))}"
    assert why in text_of(omar.get(approval))
    assert "Reach of the rollout changed" in page
    assert "may reach 100% → 80%" in page
    assert "may reach 80% → 40%" in page


def test_the_pages_stand_among_all_others(omar: Browser) -> None:
    assert {"/reach", OVERRIDES} <= set(every_page(omar))
