"""An approval wants the person, not only their browser: the password again after 15 minutes."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from controller.flow.people import set_password
from controller.rollout.states import State
from controller.service.http.sessions import CONFIRM_AFTER
from tests.browser.world import ADMIN, PASSWORD, PROJECT, World
from tests.unit.ui.conftest import Browser, forms
from tests.unit.ui.reading import text_of, waiting

WRONG = "not the harbour at all"
A_MINUTE = timedelta(minutes=1)


def later(world: World, passed: timedelta) -> None:
    world.clock.behind -= passed


def proposal_of(world: World) -> str:
    return f"/approvals/{world.open_proposal(waiting(world))}"


def votes(world: World) -> list[tuple[str, str]]:
    with world.store.reading() as work:
        found = work.approvals.list(PROJECT, rollout=waiting(world))
    return [(vote.voter, vote.vote) for one in found for vote in one.votes]


def test_soon_after_signing_in_nobody_is_asked_again(omar: Browser) -> None:
    address = proposal_of(omar.world)
    later(omar.world, CONFIRM_AFTER - A_MINUTE)
    assert 'type="password"' not in omar.get(address)
    assert omar.send(address, address, vote="approve").status_code == 303
    assert votes(omar.world) == [("omar", "approve")]


@pytest.mark.parametrize("given", ["", WRONG])
def test_an_old_session_alone_approves_nothing_and_loses_no_word(omar: Browser, given: str) -> None:
    address = proposal_of(omar.world)
    later(omar.world, CONFIRM_AFTER)
    assert 'name="password"' in omar.get(address)
    answer = omar.send(address, address, vote="approve", comment="Read it all.", password=given)
    assert answer.status_code == 403
    assert votes(omar.world) == []
    assert "Read it all.</textarea>" in answer.text
    said = "That is not your password" if given else "give it again to do this"
    assert said in text_of(answer.text)
    assert WRONG not in answer.text


def test_with_the_password_the_vote_counts_and_the_next_is_free(omar: Browser) -> None:
    address = proposal_of(omar.world)
    later(omar.world, CONFIRM_AFTER)
    answer = omar.send(address, address, vote="approve", password=PASSWORD)
    assert answer.status_code == 303
    assert votes(omar.world) == [("omar", "approve")]
    with omar.world.store.reading() as work:
        entries = work.audit.entries(PROJECT, after=0, most=1000, object="operator/omar")
    assert [one.action for one in entries][-1] == "confirmed_password"
    assert omar.world.rollout(waiting(omar.world)).state is State.DECIDING


def test_the_password_of_somebody_else_is_no_proof(omar: Browser) -> None:
    set_password(omar.world.store, "ruth", "ruths own long password", actor=ADMIN)
    address = proposal_of(omar.world)
    later(omar.world, CONFIRM_AFTER)
    answer = omar.send(address, address, vote="approve", password="ruths own long password")
    assert answer.status_code == 403
    assert votes(omar.world) == []


def test_rejecting_never_asks(omar: Browser) -> None:
    address = proposal_of(omar.world)
    later(omar.world, CONFIRM_AFTER)
    answer = omar.send(address, address, vote="reject", comment="The storm was not in it.")
    assert answer.status_code == 303
    assert votes(omar.world) == [("omar", "reject")]


def test_guessing_in_an_open_browser_is_slowed_down(omar: Browser) -> None:
    address = proposal_of(omar.world)
    later(omar.world, CONFIRM_AFTER)
    form = next(one for one in forms(omar.get(address)) if "digest" in one)
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form))
    tries = [
        omar.client.post(address, data={**hidden, "vote": "approve", "password": f"{WRONG} {n}"})
        for n in range(6)
    ]
    assert [one.status_code for one in tries] == [403] * 5 + [429]
    assert "Too many wrong passwords; try again in" in text_of(tries[5].text)
    assert votes(omar.world) == []


def test_who_cannot_approve_is_not_asked(stranger: Browser) -> None:
    stranger.sign_in("vera")
    later(stranger.world, CONFIRM_AFTER)
    assert 'type="password"' not in stranger.get(proposal_of(stranger.world))


# ---------------------------------------------------------------- who may sign in


@pytest.fixture
def admin(stranger: Browser) -> Browser:
    stranger.sign_in("admin")
    later(stranger.world, CONFIRM_AFTER)
    return stranger


def names(world: World) -> set[str]:
    with world.store.reading() as work:
        return {one.name for one in work.people.operators()}


def test_an_open_browser_makes_no_second_approver(admin: Browser) -> None:
    page = admin.get("/operators")
    disabled = re.findall(r"<button[^>]*disabled[^>]*>", page)
    assert len(disabled) == len(names(admin.world)) + 1, "every link, and the new name"
    answer = admin.send("/operators", "/operators", name="sock", approver="yes")
    assert (answer.status_code, "sock" in names(admin.world)) == (403, False)
    link = admin.send("/operators", "/operators/ruth/link")
    assert link.status_code == 403
    assert "/link/" not in re.sub(r'action="[^"]*"', "", link.text)


def test_after_the_password_people_can_be_added(admin: Browser) -> None:
    wrong = admin.send("/operators", "/operators/confirm", password=WRONG)
    assert wrong.status_code == 403
    answer = admin.send("/operators", "/operators/confirm", password=PASSWORD)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/operators")
    assert not any("confirm" in form for form in forms(admin.get("/operators")))
    assert admin.send("/operators", "/operators", name="sandra", approver="yes").status_code == 200
    assert "sandra" in names(admin.world)


def test_locking_somebody_out_never_asks_but_letting_in_does(admin: Browser) -> None:
    out = admin.send("/operators", "/operators/vera/access")
    assert (out.status_code, "locked out" in text_of(out.text)) == (200, True)
    assert admin.send("/operators", "/operators/vera/access").status_code == 403
    assert "locked out" in text_of(admin.get("/operators"))
