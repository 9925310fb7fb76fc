"""A rollout's page in every state of its life, drawn from what really happened to it."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from controller.flow.create import create_rollout
from controller.flow.verbs import act
from controller.rollout.states import State
from controller.service.ui.rollouts import decided
from tests.browser.world import (
    ALIKE,
    BETTER,
    DANA,
    PROJECT,
    WEATHER,
    WORSE,
    Draw,
    Feed,
    World,
    define,
    flight_costs,
)
from tests.unit.ui.conftest import Browser
from tests.unit.ui.reading import found, text_of

SLOT = "crew-planning"


def feed(draw: Draw) -> Feed:
    """Sums of a rollout of flights, from nothing."""
    return Feed(metrics=("cost-per-departure", "costly-departures"), draw=draw)


@pytest.fixture
def draft(omar: Browser) -> str:
    return create_rollout(
        omar.world.store, PROJECT, slot=SLOT, challengers=[WEATHER], actor=DANA, hypothesis="Less."
    ).id


def steps(page: str) -> dict[str, str]:
    """Condition of every step by its name."""
    step = r'<li class="(\w+)"[^>]*>\s*<span class="dot".*?step-name">([^<]+)<'
    shown = re.findall(step, page, re.DOTALL)
    return {name: condition for condition, name in shown}


def test_a_draft_can_be_frozen_or_cancelled(omar: Browser, draft: str) -> None:
    page = omar.get(f"/rollouts/{draft}")
    assert "Nobody sees weather-boost 2013.4 yet." in text_of(page)
    assert "No evidence yet" in page
    assert "Freeze the plan" in page
    assert "Cancel this rollout" in page
    address = f"/rollouts/{draft}/actions/submit"
    omar.send(address, address)
    assert omar.world.rollout(draft).state is State.VALIDATING
    page = omar.get(f"/rollouts/{draft}")
    assert steps(page)["Check"] == "now"
    assert "Start with 10% of traffic" in text_of(page)
    address = f"/rollouts/{draft}/actions/abort"
    omar.send(address, address)
    page = omar.get(f"/rollouts/{draft}")
    assert steps(page)["Check"] == "stopped"
    assert "Ended before anybody met the challenger" in text_of(page)
    assert "Try again" in page


def test_a_retry_leads_to_the_new_attempt(omar: Browser, draft: str) -> None:
    act(omar.world.store, PROJECT, draft, "abort", actor=DANA)
    address = f"/rollouts/{draft}/actions/retry"
    refused = omar.send(address, address)
    assert refused.status_code == 422, "then only ruth could approve, and two are needed"
    assert "controller operator add NAME" in refused.text
    omar.send("/", "/logout")
    omar.sign_in("dana")
    answer = omar.send(address, address)
    assert answer.headers["Location"].startswith("/rollouts/r-")
    assert draft not in answer.headers["Location"]
    assert "nothing of the earlier one counts here" in text_of(omar.get(answer.headers["Location"]))


def test_a_ramp_says_what_is_still_missing(omar: Browser) -> None:
    world = omar.world
    rollout = world.ask("fresh", SLOT, WEATHER, flight_costs(ALIKE, seed=1))
    world.live(rollout, passes=4, minutes=0, units=500)
    page = omar.get(f"/rollouts/{rollout}")
    assert steps(page)["10%"] == "now"
    shown = text_of(page)
    assert "Enough units at this share" in shown
    assert "of 300" in shown
    assert "Not now: this is still missing: " in shown
    assert "stage.min_units:" not in shown, "guards are told in words"
    assert "5%" in found(r"s share</dt><dd>([^<]+)<", page)


def test_several_challengers_each_have_a_panel(omar: Browser) -> None:
    world = omar.world
    rollout = create_rollout(
        world.store,
        PROJECT,
        slot=SLOT,
        challengers=[WEATHER, {**WEATHER, "version": "2013.5"}],
        actor=DANA,
    ).id
    world.feeds[rollout] = feed(flight_costs(ALIKE, seed=2))
    act(world.store, PROJECT, rollout, "submit", actor=DANA, if_match=1)
    world.live(rollout, passes=3, minutes=0, units=6000)
    page = omar.get(f"/rollouts/{rollout}")
    assert "weather-boost 2013.4 and weather-boost 2013.5 against" in text_of(page)
    listed = text_of(omar.get("/"))
    assert "weather-boost 2013.4 and weather-boost 2013.5 against" in listed
    for arm in ("challenger-1", "challenger-2"):
        assert f'id="panel-cost-per-departure-{arm}"' in page
    assert "6.67%" in text_of(page) or "6.7%" in text_of(page), "two thirds of the enrolled tenth"


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One rollout that was promoted and is watched, one that was rolled back as worse."""
    world = World(tmp_path_factory.mktemp("lived"))
    world.people()
    world.clock.behind = timedelta(hours=6)
    define(world)
    worse = world.ask("worse", "gate-screen-alert", WEATHER, flight_costs(WORSE, seed=3))
    world.live(worse, passes=8, minutes=11, units=4000)
    better = world.ask("better", "hotel-vouchers", WEATHER, flight_costs(BETTER, seed=7))
    world.live(better, passes=10, minutes=11, units=7000)
    world.approve(better, "omar", "ruth")
    world.live(better, passes=4, minutes=2, units=3000)
    yield world
    world.close()


@pytest.fixture
def world(lived: World, tmp_path: Path) -> Iterator[World]:
    copied = World.copied(lived, tmp_path)
    copied.clock.behind = lived.clock.behind
    yield copied
    copied.close()


def test_a_watched_promotion_shows_both_bodies_of_evidence(omar: Browser) -> None:
    rollout = omar.world.rollouts["better"]
    assert omar.world.rollout(rollout).state is State.BAKING
    page = omar.get(f"/rollouts/{rollout}")
    shown = text_of(page)
    assert "What it was promoted on: cost-per-departure" in shown
    assert "Since its promotion: cost-per-departure" in shown
    assert "Since its promotion cost-per-departure is" in shown
    assert "95% of traffic sees weather-boost 2013.4; 5% keeps the old champion" in shown
    assert steps(page)["Watch"] == "now"
    assert page.index("panel-promoted-") < page.index('id="panel-cost-per-departure-challenger"')
    promoted = found(r'id="estimate-promoted-[^"]*">(.*?)</dd>', page)
    since = found(r'id="estimate-cost[^"]*">(.*?)</dd>', page)
    assert promoted != since, "two comparisons, never pooled"


def test_a_finished_promotion_can_be_undone(omar: Browser) -> None:
    world, rollout = omar.world, omar.world.rollouts["better"]
    world.feeds[rollout] = feed(flight_costs(BETTER, seed=11))
    world.live(rollout, passes=14, minutes=10, units=3000)
    assert world.rollout(rollout).state is State.PROMOTED
    omar.sign_in("omar")  # hours have passed
    page = omar.get(f"/rollouts/{rollout}")
    assert "weather-boost 2013.4 is the champion" in text_of(page)
    assert set(steps(page).values()) == {"done"}
    shown = text_of(page)
    assert "Served by it 100%" in shown
    assert "Baking → Promoted; the watch ended without alarm" in shown
    assert "The watch ended without alarm." in shown
    assert "Not settled yet" not in shown
    promoted = text_of(found(r'id="estimate-promoted-[^"]*">(.*?)</dd>', page))
    row = text_of(found(rf'<tr id="row-{rollout}">.*?</tr>', omar.get("/")))
    assert f"{promoted} " in row
    assert "cost-per-departure: better" in row
    assert "no interval" not in row
    address = f"/rollouts/{rollout}/actions/undo"
    omar.send(address, address)
    page = omar.get(f"/rollouts/{rollout}")
    assert steps(page)["Champion"] == "stopped"
    assert "a person undid the promotion" in text_of(page)


def test_a_loss_is_told_as_a_loss(omar: Browser) -> None:
    rollout = omar.world.rollouts["worse"]
    page = omar.get(f"/rollouts/{rollout}")
    shown = text_of(page)
    assert "shown to be worse" in shown
    assert "The bound for “worse” was crossed" in shown
    assert 'class="notice bad"' in page
    assert "stopped" in steps(page).values()
    row = text_of(found(rf'<tr id="row-{rollout}">.*?</tr>', omar.get("/")))
    assert "Rolled back" in row
    assert "cost-per-departure: worse" in row


def test_a_row_of_a_harmed_guardrail_names_it_and_its_size(omar: Browser) -> None:
    """The newest look of the lost rollout, as if only a guardrail without interval were harmed."""
    rollout, store = omar.world.rollouts["worse"], omar.world.store
    with store.reading() as work:
        indexed = next(one for one in work.views.index(PROJECT) if one.id == rollout)
        listed = work.views.listed(PROJECT, [rollout])[rollout]
        assert listed.look is not None
        look = copy.deepcopy(dict(listed.look))
        cost, costly = (look["metrics"][key] for key in feed(flight_costs(ALIKE, seed=1)).metrics)
        cost["comparisons"][0]["verdict"] = "inconclusive"
        alarm = {**costly["comparisons"][0]["tests"][0], "claim": "harm", "p": 0.0004}
        harm = {"verdict": "harm", "estimate": 0.0151, "low": None, "high": None, "tests": [alarm]}
        costly["comparisons"][0] |= harm
        told = decided(work, PROJECT, indexed, replace(listed, look=look))
        assert told is not None
        assert (told.key, told.finding.word) == ("costly-departures", "Harm")
        assert told.figures.brief.startswith("+1.5")
        assert told.figures.brief.endswith("harm alarm, p < 0.001")
        costly["comparisons"][0]["verdict"] = "inconclusive"
        told = decided(work, PROJECT, indexed, replace(listed, look=look))
        assert told is not None
        assert (told.key, told.finding.word) == ("cost-per-departure", "No difference shown")
