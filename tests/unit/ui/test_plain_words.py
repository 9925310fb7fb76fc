"""What pages say beside their numbers is true of these very numbers, and reads as a sentence."""

from __future__ import annotations

import re
from dataclasses import replace

from controller.flow.approve import APPROVE
from controller.service.ui.answer import Condition
from controller.service.ui.panels import panels_of
from controller.service.ui.view import View, read_view
from tests.browser.world import ALIKE, PROJECT, WEATHER, flight_costs
from tests.unit.ui.conftest import Browser, approve
from tests.unit.ui.reading import found, text_of, waiting


def view_of(browser: Browser, rollout: str) -> View:
    with browser.world.store.reading() as work:
        return read_view(work, PROJECT, rollout)


# ---------------------------------------------------------------- a test that is over


def test_an_interval_that_stays_says_of_which_look_it_is(omar: Browser) -> None:
    panel = next(one for one in panels_of(view_of(omar, waiting(omar.world))) if one.decides)
    look = found(r"at look (\d+)", panel.crossing or "")
    assert panel.validity == f"as of look {look}, where its test ended"
    page = omar.get(f"/rollouts/{waiting(omar.world)}")
    tile = found(r"<dt>Interval.*?</div>", page)
    assert panel.validity in tile
    assert "however often" not in tile
    sha256 = omar.world.rollout(waiting(omar.world)).look_sha256
    assert panel.validity in omar.get(f"/evidence/{sha256}")


def test_an_interval_of_an_open_test_holds_at_every_look(odd: Browser) -> None:
    panel = next(
        one for one in panels_of(view_of(odd, odd.world.rollouts["several"])) if not one.crossing
    )
    assert panel.validity == "holds however often one looks"


def test_the_evidence_tells_the_two_counts_of_looks_apart(omar: Browser) -> None:
    page = omar.get(f"/evidence/{omar.world.rollout(waiting(omar.world)).look_sha256}")
    tests = text_of(found(r'id="tests-title">(.*?)</section>', page))
    assert "Looks counted Of planned evidence" in tests
    assert re.search(r"better, at the rollout's look \d+", tests)
    assert "A test counts only looks that bring enough new evidence" in tests


def test_the_bound_that_was_crossed_has_the_name_of_its_side(omar: Browser) -> None:
    page = omar.get(f"/rollouts/{waiting(omar.world)}")
    assert "The bound for “better” was crossed" in page
    strength = found(r'(<svg[^>]*class="chart strength wide".*?</svg>)', page)
    assert "▲ challenger better" in strength
    assert "▼ challenger worse" in strength


def test_before_its_first_look_a_test_says_when_that_comes(omar: Browser) -> None:
    rollout = omar.world.ask("early", "crew-planning", WEATHER, flight_costs(ALIKE, seed=9))
    omar.world.live(rollout, passes=3, minutes=1, units=2000)
    page = text_of(omar.get(f"/rollouts/{rollout}"))
    assert "first test at 5% of the planned evidence" in page
    assert "0% of the planned evidence" not in page.replace("5% of", "")


# ---------------------------------------------------------------- sentences


def flips(page: str) -> list[str]:
    inside = re.search(r"<h3>What would change this</h3>(.*?)</ul>", page, re.DOTALL)
    return [text_of(line) for line in re.findall(r"<li>(.*?)</li>", inside[1])] if inside else []


def test_what_would_change_the_verdict_is_told_in_sentences(odd: Browser) -> None:
    told = [
        line
        for rollout in odd.world.rollouts.values()
        for line in flips(odd.get(f"/rollouts/{rollout}"))
    ]
    assert len(told) > 6
    assert [
        line for line in told if not re.search(r"(: not yet; it waits|,) until .+\.$", line)
    ] == []
    silent = flips(odd.get(f"/rollouts/{odd.world.rollouts['silent']}"))
    assert any("it waits until outcomes arrive again." in line for line in silent)


def test_a_challenger_is_named_as_people_name_it(odd: Browser) -> None:
    page = odd.get(f"/rollouts/{odd.world.rollouts['several']}")
    shown = text_of(re.sub(r"<code>.*?</code>", "", page))
    assert ".challenger-1" not in shown
    assert (
        "cost-per-departure of challenger-1 (weather-boost 2013.4) is shown to be better" in shown
    )


def test_what_nothing_can_change_is_not_waited_for() -> None:
    held = Condition(name="x", text="x", result="fail", detail="", flip="never: the test is over")
    assert held.until == "not in this attempt: the test is over."
    assert replace(held, flip="it is resumed").until == "until it is resumed."


def test_whom_a_challenger_meets_is_told_without_those_given_up(odd: Browser) -> None:
    page = odd.get(f"/rollouts/{odd.world.rollouts['several']}")
    assert text_of(found(r"<h1>(.*?)</h1>", page)) == "weather-boost 2013.4 against logistic 2013.1"
    assert "2 challengers" not in odd.get("/")


def test_a_killed_rollout_is_not_paused_at_nothing(odd: Browser) -> None:
    page = text_of(odd.get(f"/rollouts/{odd.world.rollouts['killed']}"))
    assert "Pause at" not in page
    assert " Pause " in page


# ---------------------------------------------------------------- the same everywhere


def test_a_slot_has_the_badge_of_its_rollout(omar: Browser) -> None:
    assert "Needs approval" in text_of(omar.get("/"))
    slots = omar.get("/slots")
    shown = found(r'<h2 id="slot-\d+">late-flight-alert</h2>(.*?)</div>', slots)
    assert "Needs approval" in text_of(shown)


def test_the_last_one_who_can_approve_is_told_so(omar: Browser) -> None:
    page = f"/approvals/{omar.world.open_proposal(waiting(omar.world))}"
    assert "Others who can approve: ruth" in text_of(omar.get(page))
    approve(omar.world, "ruth", APPROVE)
    assert "You are the only one left who can approve." in text_of(omar.get(page))


def test_a_link_has_the_name_of_its_page(odd: Browser) -> None:
    title = text_of(found(r"<h1>(.*?)</h1>", odd.get("/reach")))
    assert title == "Who can be reached"
    for path in ("/slots", f"/rollouts/{odd.world.rollouts['several']}"):
        links = re.findall(r'<a href="/reach">([^<]*)</a>', odd.get(path))
        assert [name.lower() for name in links] == [title.lower()], path


# ---------------------------------------------------------------- the picture over time


def test_every_mark_in_a_picture_has_a_legend(omar: Browser) -> None:
    page = omar.get(f"/rollouts/{waiting(omar.world)}")
    figure = found(r"<figure class=\"history\".*?</figure>", page)
    caption = text_of(found(r"<figcaption>(.*?)</figcaption>", figure))
    assert "◆ put before people" in caption
    assert "started, raised or resumed" in caption
    assert "▲ the look that ended the test" in text_of(figure)
