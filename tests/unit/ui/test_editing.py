"""Editing a rollout in the console: weights and condition, without script."""

from __future__ import annotations

from typing import Any

import pytest

from controller.rollout.record import Allocation
from tests.browser.world import PROJECT, World
from tests.unit.ui.conftest import Browser
from tests.unit.ui.reading import text_of, waiting

HALVES = "champion = 50%\nchallenger = 50%"
BAD = '{"attribute": "a", "op": "eq", "value": "%s"}'


def current(world: World, rollout: str) -> Allocation:
    with world.store.reading() as work:
        return work.rollouts.allocations(PROJECT, rollout)[-1]


def version(world: World, rollout: str) -> int:
    with world.store.reading() as work:
        found = work.rollouts.get(PROJECT, rollout)
    assert found is not None
    return found.generation


def send(browser: Browser, rollout: str, **form: Any) -> Any:
    page = f"/rollouts/{rollout}/actions/edit"
    given = {"version": version(browser.world, rollout), **form}
    return browser.send(page, page, **given)


def test_the_form_stands_as_it_is_and_an_edit_is_made(omar: Browser) -> None:
    rollout = waiting(omar.world)
    assert f'href="/rollouts/{rollout}/actions/edit"' in omar.get(f"/rollouts/{rollout}")
    page = omar.get(f"/rollouts/{rollout}/actions/edit")
    assert "champion = 50%" in page
    before = current(omar.world, rollout)
    weights = "champion = 80%\nchallenger = 20%"
    answer = send(omar, rollout, weights=weights, note="calmer")
    assert answer.headers["Location"] == f"/rollouts/{rollout}?done=edit", answer.text
    after = current(omar.world, rollout)
    assert after.number == before.number + 1
    assert after.retired == ((7000, 10000),)
    told = text_of(omar.get(f"/rollouts/{rollout}?done=edit"))
    assert "Nobody met another arm" in told
    assert "Weights or eligibility changed" in told
    assert "challenger = 20%" in omar.get(f"/rollouts/{rollout}/actions/edit")


def test_the_condition_alone_is_changed_and_weights_stay(omar: Browser) -> None:
    rollout = waiting(omar.world)
    north = '{"attribute": "region", "op": "eq", "value": "north"}'
    weights = "champion = 50%\nchallenger = 50%"
    answer = send(omar, rollout, weights=weights, eligible=north)
    assert answer.status_code == 303, answer.text
    after = current(omar.world, rollout)
    assert after.eligible == {"attribute": "region", "op": "eq", "value": "north"}
    assert after.retired == ()


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"weights": "champion 50%"}, "expected one line like"),
        ({"weights": "champion = 50%\nchallenger = much"}, "is no share"),
        ({"weights": "champion = 50%\nchallenger = 40%"}, "add up to 0.9"),
        ({"weights": "champion = 100%\nchallenger = 0"}, "no challenger would be left"),
        ({"weights": "champion = 50%\nchallenger = 50%", "eligible": "{"}, "not readable JSON"),
        ({"weights": HALVES, "eligible": BAD % r"\ud800"}, "not readable JSON"),
        ({"weights": HALVES, "eligible": BAD % r"\u0000"}, "not readable JSON"),
        ({"weights": HALVES, "eligible": '{"a": 1, "a": 2}'}, "stands twice"),
        ({"weights": HALVES, "eligible": "[" * 3000}, "not readable JSON"),
        (
            {"weights": "champion = 50%\nchallenger = 50%", "eligible": '{"nor": []}'},
            "eligible.nor",
        ),
        ({"weights": "champion = 50%\nchallenger = 50%"}, "changes nothing"),
    ],
)
def test_what_cannot_be_done_is_said_beside_what_was_typed(
    omar: Browser, form: dict[str, str], said: str
) -> None:
    rollout = waiting(omar.world)
    answer = send(omar, rollout, **form)
    assert answer.status_code == 422
    assert said in text_of(answer.text)
    assert form["weights"].splitlines()[0] in answer.text
    assert current(omar.world, rollout).number == 1 or not current(omar.world, rollout).retired


def test_an_edit_of_a_version_that_is_gone_is_refused(omar: Browser) -> None:
    rollout = waiting(omar.world)
    weights = "champion = 80%\nchallenger = 20%"
    assert send(omar, rollout, weights=weights, version=1).status_code == 412


def test_without_the_role_it_says_which_one_it_takes(stranger: Browser) -> None:
    stranger.sign_in("vera")
    rollout = waiting(stranger.world)
    page = text_of(stranger.get(f"/rollouts/{rollout}/actions/edit"))
    assert "you need the role operator or admin" in page
