"""Pages in odd cases: several challengers, a frozen plan, a killed slot, nothing set up at all."""

from __future__ import annotations

import html
import re
from datetime import timedelta

import pytest

from controller.experiments.metrics import Metric
from controller.flow.define import put_metric, put_slot
from controller.service.http.loader import parse_yaml
from controller.service.ui.course import share_steps, traffic_of
from controller.service.ui.view import View, read_view
from tests.browser.corners import LONG, corner_pages, empty_pages
from tests.browser.world import ADMIN, PROJECT
from tests.unit.ui.conftest import Browser
from tests.unit.ui.reading import found, text_of


def test_every_page_answers_and_no_value_shows_through(odd: Browser) -> None:
    for name, path in corner_pages(odd.world):
        said = text_of(odd.get(path))
        assert not re.search(r"\b(None|nan|inf|True|False|Undefined)\b", said), name


# ---------------------------------------------------------------- several challengers


def test_every_number_says_which_challenger_it_is_about(odd: Browser) -> None:
    page = odd.get(f"/rollouts/{odd.world.rollouts['several']}")
    first, second = (
        "challenger-1 (weather-boost 2013.4)",
        "challenger-2 (weather-boost 2013.5-wide)",
    )
    why = text_of(found(r"<h3>Why</h3>(.*?)</ul>", page))
    assert f"cost-per-departure of {first}:" in why
    assert second not in why, "who was given up decides nothing"
    guards = text_of(found(r'id="guards">(.*?)</section>', page))
    assert first in guards
    assert f"{second}, given up" in guards
    assert f"costly-departures of {first} over time" in guards


def test_a_challenger_that_was_given_up_is_folded_and_its_question_closed(odd: Browser) -> None:
    page = odd.get(f"/rollouts/{odd.world.rollouts['several']}")
    folded = found(r'(<details class="card" id="panel-cost-per-departure-challenger-2">.*)', page)
    assert text_of(folded).startswith("Given up: challenger-2 (weather-boost 2013.5-wide)")
    assert "Not settled yet" not in text_of(folded.split("</dl>")[0])


def view_of(browser: Browser, name: str) -> View:
    with browser.world.store.reading() as work:
        return read_view(work, PROJECT, browser.world.rollouts[name])


def test_the_picture_of_the_traffic_agrees_with_the_sentence(odd: Browser) -> None:
    page = odd.get(f"/rollouts/{odd.world.rollouts['several']}")
    takes_part = found(r"\(([\d.]+%) takes part in the test\)", page)
    view = view_of(odd, "several")
    assert view.status["allocation"]["retired"] > 0.3, "or there is nothing to leave out"
    assert traffic_of(view).enrolled == takes_part
    assert f"<dt>Enrolled</dt><dd>{takes_part}</dd>" in page
    last = share_steps(view)[-1]
    reach = view.status["reach"]["share"]
    assert last.enrolled * reach == pytest.approx(view.status["enrolled_traffic"])
    assert last.challenger * reach == pytest.approx(view.status["challenger_traffic"])
    edit = odd.get(f"/rollouts/{odd.world.rollouts['several']}/actions/rollback")
    assert takes_part in edit, "what it is now, on the page that confirms"


def test_a_kill_reaches_the_picture_of_the_traffic(odd: Browser) -> None:
    *before, last = share_steps(view_of(odd, "killed"))
    assert (last.enrolled, last.challenger) == (0.0, 0.0)
    assert before[-1].enrolled > 0


def test_with_one_challenger_no_arm_is_named(odd: Browser) -> None:
    why = text_of(odd.get(f"/rollouts/{odd.world.rollouts['killed']}"))
    assert "cost-per-departure: " in why
    assert "cost-per-departure of" not in why


def test_the_edit_form_says_which_model_an_arm_is_and_where_units_go(odd: Browser) -> None:
    page = text_of(odd.get(f"/rollouts/{odd.world.rollouts['several']}/actions/edit"))
    assert re.search(
        r"champion is logistic 2013\.1 , challenger-1 is weather-boost 2013\.4 ?\.", page
    )
    assert "to the champion\u2019s line; those departures see the champion" in page
    assert "champion = 70% challenger-1 = 30%" in page


# ---------------------------------------------------------------- a plan, a kill, names


def test_a_plan_is_told_in_words(odd: Browser) -> None:
    plan = odd.world.rollout(odd.world.rollouts["several"]).frozen_plan
    rollout = odd.world.rollouts["several"]
    assert f'href="/evidence/{plan.sha256}"' in odd.get(f"/rollouts/{rollout}")
    page = odd.get(f"/evidence/{plan.sha256}")
    said = text_of(page)
    assert f"<h1>Plan <code>{plan.sha256[:12]}</code></h1>" in page
    assert "What a rollout in two-challengers is judged by" in said
    assert "Challenger-2 weather-boost 2013.5-wide, 33.3% of the test" in said
    assert "Decides cost-per-departure (lower is better)" in said
    assert "Guardrail costly-departures may not get worse by more than 0.03" in said
    assert f"planned, alpha 0.05, until {plan.horizon:,} complete units" in said
    assert "To promote 2 people must approve, not whoever asked" in said
    assert "10% at least 20 min, 300 units, 100 complete units" in said


def test_a_look_leads_to_the_plan_it_is_judged_by(odd: Browser) -> None:
    rollout = odd.world.rollout(odd.world.rollouts["several"])
    page = odd.get(f"/evidence/{rollout.look_sha256}")
    assert f'href="/evidence/{rollout.frozen_plan.sha256}"' in page


def test_a_killed_rollout_leads_to_where_the_switch_is_lifted(odd: Browser) -> None:
    killed = odd.get(f"/rollouts/{odd.world.rollouts['killed']}")
    assert '<a href="/slots/crew-planning/kill">Lift the kill switch</a>' in killed
    other = odd.get(f"/rollouts/{odd.world.rollouts['silent']}")
    assert "the slot\u2019s kill switch" in other


def test_names_keep_their_own_direction(odd: Browser) -> None:
    page = odd.get(f"/rollouts/{odd.world.rollouts['right-to-left']}")
    heading = found(r"<h1>(.*?)</h1>", page)
    assert re.fullmatch(r"<bdi>מודל.*</bdi> .*against.* <bdi>logistic 2013.1</bdi>", heading)


def test_a_long_name_is_shown_whole(odd: Browser) -> None:
    assert LONG in found(r"<h1>(.*?)</h1>", odd.get(f"/rollouts/{odd.world.rollouts['long']}"))


def test_looks_of_another_day_say_their_day(odd: Browser) -> None:
    address = f"/rollouts/{odd.world.rollouts['silent']}"
    today = found(r'<table class="looks">(.*?)</table>', odd.get(address))
    assert re.search(r"<td>\d\d:\d\d:\d\d</td>|<td>\d\d \w{3} \d{4}, ", today)
    odd.client.delete_cookie("controller_session")
    odd.world.clock.behind -= timedelta(days=2)
    odd.sign_in("admin")
    later = found(r'<table class="looks">(.*?)</table>', odd.get(address))
    assert re.search(r"<td>\d\d \w{3} \d{4}, \d\d:\d\d:\d\d</td>", later)


# ---------------------------------------------------------------- nothing yet


def test_an_empty_installation_says_what_to_do_first(empty: Browser) -> None:
    for _, path in empty_pages(empty.world):
        empty.get(path)
    front = empty.get("/")
    assert "Nothing is set up yet" in front
    assert '<a class="button main" href="/setup">Set up the first slot</a>' in front
    assert "rollout create" not in front, "there is no slot to name"


def test_what_setting_up_says_can_be_applied_as_it_stands(empty: Browser) -> None:
    page = empty.get("/setup")
    assert "pip install rollout-controller" not in page, "it is on no index"
    metric, slot = (
        dict(parse_yaml(html.unescape(found(rf'id="{name}">(.*?)</code>', page)).encode()))
        for name in ("metric", "slot-file")
    )
    store = empty.world.store
    key = metric.pop("key")
    put_metric(store, PROJECT, metric, key=key, actor=ADMIN)
    put_slot(store, PROJECT, slot, key=slot.pop("key"), actor=ADMIN)
    with store.reading() as work:
        assert isinstance(work.definitions.metric(PROJECT, key), Metric)
    order = [page.index(f'id="{name}"') for name in ("slot-file", "administrator", "apply", "key")]
    assert order == sorted(order), "the address and the token before the first command"
    assert page.count("export CONTROLLER_TOKEN") == 1
    assert "Say what counts" not in empty.get("/setup")
    assert "No rollouts yet" in empty.get("/")
