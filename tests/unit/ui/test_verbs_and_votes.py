"""What a person does to a rollout in the console: verbs and approvals, without script."""

from __future__ import annotations

import re

from controller.flow.actors import Role
from controller.flow.verbs import act
from controller.rollout.states import State, Verb
from controller.service.ui.actions import ROLES
from tests.browser.world import DANA, PROJECT, World
from tests.unit.ui.conftest import Browser, forms
from tests.unit.ui.reading import found, text_of, waiting

# ---------------------------------------------------------------- verbs


def test_rolling_back_takes_two_steps_and_no_reason(omar: Browser) -> None:
    rollout = waiting(omar.world)
    page = omar.get(f"/rollouts/{rollout}")
    address = f"/rollouts/{rollout}/actions/rollback"
    assert f'href="{address}"' in page
    confirm = text_of(omar.get(address))
    assert "Roll back to logistic 2013.1?" in confirm
    assert "No reason has to be given" in confirm
    answer = omar.send(address, address)
    assert answer.headers["Location"] == f"/rollouts/{rollout}?done=rollback"
    assert omar.world.rollout(rollout).state is State.ROLLING_BACK
    assert "Rolling back" in text_of(omar.get(answer.headers["Location"]))


def test_pausing_and_resuming(omar: Browser) -> None:
    rollout = waiting(omar.world)
    pause, resume = (f"/rollouts/{rollout}/actions/{verb}" for verb in ("pause", "resume"))
    assert omar.send(pause, pause, note="The airport is closed.").status_code == 303
    shown = text_of(omar.get(f"/rollouts/{rollout}"))
    assert "Held: a person paused it" in shown
    assert "The airport is closed." in shown
    assert omar.send(resume, resume).status_code == 303
    assert omar.world.rollout(rollout).paused == ()


def test_a_verb_that_raises_names_the_version_that_was_read(omar: Browser) -> None:
    rollout = waiting(omar.world)
    pause, resume = (f"/rollouts/{rollout}/actions/{verb}" for verb in ("pause", "resume"))
    omar.send(pause, pause)
    read = re.search(r'name="version" value="(\d+)"', omar.get(resume))
    assert read is not None
    act(omar.world.store, PROJECT, rollout, "resume", actor=DANA, if_match=int(read.group(1)))
    act(omar.world.store, PROJECT, rollout, "pause", actor=DANA)
    token = re.search(r'name="csrf_token" value="([^"]+)"', omar.get(resume))
    assert token is not None
    stale = omar.client.post(
        resume, data={"csrf_token": token.group(1), "version": read.group(1), "note": ""}
    )
    assert stale.status_code == 412
    assert "Open the rollout again" in stale.text
    assert omar.world.rollout(rollout).paused, "nothing happened"


def test_a_form_without_its_token_does_nothing(omar: Browser) -> None:
    rollout = waiting(omar.world)
    refused = omar.client.post(f"/rollouts/{rollout}/actions/rollback", data={"note": ""})
    assert (refused.status_code, "csrf_refused" in refused.text) == (403, True)
    assert omar.world.rollout(rollout).state is State.DECIDING


def test_a_viewer_sees_every_button_with_the_reason_it_does_not_work(stranger: Browser) -> None:
    stranger.sign_in("vera")
    rollout = waiting(stranger.world)
    page = stranger.get(f"/rollouts/{rollout}")
    assert re.search(r'aria-disabled="true" aria-describedby="why-rollback">Roll back', page)
    assert "Not now: you need the role" in text_of(page)
    address = f"/rollouts/{rollout}/actions/rollback"
    assert stranger.send(address, address).status_code == 403
    assert stranger.world.rollout(rollout).state is State.DECIDING


def test_the_page_says_beforehand_what_the_use_case_says_afterwards(world: World) -> None:
    """Who may ask for a verb, for every verb and role."""
    from controller.errors import ControllerError, NotPermitted
    from controller.flow.actors import Actor

    for verb in Verb:
        for role in Role:
            actor = Actor(name="dana", kind="operator", roles=frozenset({role}))
            permitted = True
            try:
                act(world.store, PROJECT, waiting(world), verb, actor=actor, dry_run=True)
            except NotPermitted:
                permitted = False
            except ControllerError:
                pass  # let in, and refused for another reason
            assert permitted == (role in ROLES[verb]), f"{role} {verb}"


# ---------------------------------------------------------------- approvals


def test_two_people_promote_in_the_console(omar: Browser) -> None:
    world = omar.world
    proposal = world.open_proposal(waiting(world))
    address = f"/approvals/{proposal}"
    page = text_of(omar.get(address))
    assert "Promote weather-boost 2013.4" in page
    assert "2 more approvals needed" in page
    assert "Others who can approve: ruth." in page
    answer = omar.send(address, address, vote="approve", comment="The lead holds.")
    assert answer.headers["Location"] == f"{address}?done=approve"
    after = omar.get(answer.headers["Location"])
    assert "Your approval is recorded." in after
    assert "You cannot approve: you have approved it already" in text_of(after)
    assert world.rollout(waiting(world)).state is State.DECIDING
    omar.send("/", "/logout")
    omar.sign_in("ruth")
    omar.send(address, address, vote="approve", comment="")
    assert world.rollout(waiting(world)).state is State.PROMOTING
    closed = omar.get(address)
    assert "Done" in text_of(closed)
    assert "How it ended" in text_of(closed)
    assert "What has moved since" not in text_of(closed)
    assert 'name="vote"' not in closed, "no dead buttons"
    assert f'hx-get="{address}/live"' not in closed, "a closed proposal stands still"
    assert "How it ended" in omar.get(f"{address}/live"), "a page from before learns of it"


def test_a_rejection_needs_a_reason_and_keeps_what_was_typed(omar: Browser) -> None:
    address = f"/approvals/{omar.world.open_proposal(waiting(omar.world))}"
    refused = omar.send(address, address, vote="reject", comment=" ")
    assert refused.status_code == 422
    assert "Say why you reject it" in refused.text
    assert omar.send(address, address, vote="reject", comment="July is missing.").status_code == 303
    assert "Rejected" in text_of(omar.get(address))
    assert "July is missing." in text_of(omar.get(f"/rollouts/{waiting(omar.world)}"))


def test_who_asked_cannot_approve_and_reads_why(stranger: Browser) -> None:
    stranger.sign_in("dana")
    address = f"/approvals/{stranger.world.open_proposal(waiting(stranger.world))}"
    page = stranger.get(address)
    assert "You cannot approve: you need the role approver." in text_of(page)
    button = re.search(r'<button[^>]*value="approve"[^>]*>', page)
    assert button is not None
    assert "disabled" in button.group(0)
    assert 'aria-describedby="why-not"' in button.group(0)


def test_a_vote_on_other_content_is_refused(omar: Browser) -> None:
    address = f"/approvals/{omar.world.open_proposal(waiting(omar.world))}"
    form = next(one for one in forms(omar.get(address)) if 'name="digest"' in one)
    token = re.search(r'name="csrf_token" value="([^"]+)"', form)
    assert token is not None
    answer = omar.client.post(
        address, data={"csrf_token": token.group(1), "digest": "0" * 64, "vote": "approve"}
    )
    assert answer.status_code == 422
    assert "open the proposal again" in answer.text


def test_an_approval_shows_what_is_frozen_and_what_moved(omar: Browser) -> None:
    world = omar.world
    address = f"/approvals/{world.open_proposal(waiting(world))}"
    with world.store.reading() as work:
        proposal = work.approvals.open_for(PROJECT, waiting(world))
        assert proposal is not None
        frozen = work.evidence.get(PROJECT, proposal.document["evidence"])
    assert frozen is not None
    assert frozen["number"] < world.rollout(waiting(world)).look_number
    page = omar.get(address)
    tile = text_of(found(r'id="estimate-[^"]*">(.*?)</dd>', page))
    estimate = frozen["metrics"][0]["comparisons"][0]["estimate"]
    assert float(tile.replace("−", "-")) == round(estimate, len(tile.partition(".")[2]))
    moved = text_of(page[page.index('id="moved"') : page.index('id="people"')])
    assert tile in moved
    assert "No guardrail is shown to be harmed" in moved
