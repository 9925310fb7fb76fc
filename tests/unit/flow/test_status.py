"""The status document: complete, true to the rollout, and one sentence a stranger understands."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from controller.errors import NotFound
from controller.flow.kill import kill
from controller.flow.status import status_document
from controller.rollout.record import Rollout
from controller.rollout.states import State, Verb
from tests.unit.flow.desk import PROJECT, SLOT, STEPS, Desk

GREAT = {"champion": (2000, 0.50), "challenger": (2000, 0.60)}
CALM = {"champion": (2000, 0.02), "challenger": (2000, 0.02)}


@pytest.fixture
def desk() -> Desk:
    return Desk()


def shown(desk: Desk, rollout: Rollout) -> dict[str, Any]:
    document = desk.status(rollout)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    status = dict(document["status"])
    return status | {"sentence": re.sub(r"\s", " ", status["sentence"])}


def actions(status: dict[str, Any]) -> dict[str, Any]:
    return {action["verb"]: action for action in status["allowed_actions"]}


def test_a_draft_shows_what_it_would_freeze(desk: Desk) -> None:
    rollout = desk.create(hypothesis="trees see weather")
    document = desk.status(rollout)
    assert document["metadata"]["hypothesis"] == "trees see weather"
    assert document["metadata"]["resource_version"] == "1"
    assert document["spec"]["champion"]["name"] == "logit"
    assert [one["arm"] for one in document["spec"]["challengers"]] == ["challenger"]
    status = shown(desk, rollout)
    assert status["state"] == "Draft"
    assert status["sentence"] == "Nobody sees trees 7 yet. Next: somebody submits the draft."
    allowed = {verb for verb, action in actions(status).items() if action["allowed"]}
    assert allowed == {"submit", "abort"}


def test_every_verb_is_listed_with_the_reason_it_is_not_allowed() -> None:
    desk = Desk({"ramp": STEPS})
    rollout = desk.started()
    found = actions(shown(desk, rollout))
    assert set(found) == {verb.value for verb in Verb}
    assert found["submit"]["why_not"] == "not while the rollout is Ramping"
    assert "stage.dwell: 3600 seconds have passed in this stage" in found["advance"]["why_not"]
    assert found["resume"]["why_not"] == "it is not paused"
    assert found["rollback"] == {"verb": "rollback", "allowed": True, "why_not": None}


def test_a_ramping_rollout_says_both_shares_what_is_known_and_what_is_next() -> None:
    desk = Desk({"ramp": STEPS})
    rollout = desk.started()
    desk.see("on-time", epoch=1, champion=(100, 0.5), challenger=(100, 0.52))
    desk.see("complaints", epoch=1, champion=(100, 0.02), challenger=(100, 0.02))
    desk.ticks(1)
    status = shown(desk, rollout)
    assert (status["enrolled"], status["challenger_share"]) == (0.1, 0.05)
    assert status["sentence"] == (
        "5% of traffic sees trees 7 (10% takes part in the test). "
        "on-time is 2.00 pp higher: looks better, not yet shown on 200 complete units. "
        "Next: 100% of traffic takes part (not before 2026-01-05 10:00 UTC); "
        "this stage has to last longer."
    )
    assert status["step"]["index"] == 0
    assert status["step"]["min_ends_at"] == "2026-01-05T10:00:00+00:00"
    assert status["integrity"]["exposed"] == {"champion": 100, "challenger": 100}
    conditions = {one["type"]: one["status"] for one in status["conditions"]}
    assert conditions["DataFresh"] == "True"
    assert conditions["IntegrityOK"] == "True"
    assert conditions["DriftOK"] == "Unknown"


def test_a_pending_promotion_names_its_gate_and_its_votes(desk: Desk) -> None:
    rollout = desk.started()
    desk.see("on-time", epoch=1, **GREAT)
    desk.see("complaints", epoch=1, **CALM)
    desk.ticks(3)
    proposal = desk.open_proposal(rollout)
    assert proposal is not None
    desk.vote(proposal, "ben", comment="fine")
    status = shown(desk, rollout)
    approval = status["approvals"][0]
    assert (approval["have"], approval["need"], approval["state"]) == (1, 2, "open")
    assert approval["by"][0]["comment"] == "fine"
    assert approval["digest"] == proposal.digest
    assert status["next"]["people"] == "promote"
    assert status["verdict"]["value"] == "PROMOTE"
    assert {clause["id"] for clause in status["verdict"]["clauses"]} >= {
        "kill",
        "integrity.srm",
        "oec.on-time",
        "guardrail.complaints",
    }
    assert "Next: promotion, once" in status["sentence"]
    promote = actions(status)["promote"]
    assert (promote["allowed"], promote["gate"]) == (True, "promote")


def test_a_held_rollout_says_why(desk: Desk) -> None:
    rollout = desk.started()
    desk.do(rollout, Verb.PAUSE)
    assert shown(desk, rollout)["sentence"].endswith("Held: an operator paused it.")
    assert shown(desk, rollout)["paused"] == ["operator"]


def test_a_killed_slot_shows_nobody_the_challenger(desk: Desk) -> None:
    rollout = desk.started()
    kill(desk.store, PROJECT, SLOT, actor=desk.person("ben"))
    status = shown(desk, rollout)
    assert status["killed"] is True
    assert (status["enrolled"], status["challenger_share"]) == (0.0, 0.0)
    assert status["sentence"].startswith("The slot is killed: nobody sees trees 7.")


def test_a_lead_of_nothing_is_called_no_difference_so_far(desk: Desk) -> None:
    rollout = desk.started()
    desk.see("on-time", epoch=1, champion=(100, 0.5), challenger=(100, 0.5))
    desk.see("complaints", epoch=1, champion=(100, 0.02), challenger=(100, 0.02))
    desk.ticks(1)
    said = shown(desk, rollout)["sentence"]
    assert "on-time shows no difference so far" in said
    assert "looks" not in said


def test_a_test_without_a_difference_says_that_the_champion_was_kept(desk: Desk) -> None:
    rollout = desk.started()
    desk.see("on-time", epoch=1, champion=(100, 0.5), challenger=(100, 0.52))
    desk.see("complaints", epoch=1, champion=(100, 0.02), challenger=(100, 0.02))
    desk.ticks(1)
    desk.ticks(3, days=11)
    status = shown(desk, rollout)
    assert (status["state"], status["verdict"]["value"]) == ("RolledBack", "NO_DIFFERENCE")
    assert status["sentence"].startswith("The champion was kept: ")
    assert "no difference was shown on 200 complete units" in status["sentence"]
    assert "yet" not in status["sentence"]


@pytest.mark.parametrize(
    ("verb", "says"),
    [
        (Verb.ROLLBACK, "Rolled back: an operator took it back. The champion serves everybody."),
        (Verb.ABORT, "Rolled back: an operator aborted it. The champion serves everybody."),
    ],
)
def test_an_ended_rollout_says_how_it_ended(desk: Desk, verb: Verb, says: str) -> None:
    rollout = desk.started()
    desk.do(rollout, verb)
    desk.ticks(2)
    status = shown(desk, rollout)
    assert status["state"] == State.ROLLED_BACK.value
    assert status["sentence"] == says
    assert status["deadlines"] == []
    assert status["next"]["transition"] is None


def test_every_living_state_shows_its_deadline_and_what_happens_then(desk: Desk) -> None:
    rollout = desk.create()
    desk.do(rollout, Verb.SUBMIT)
    (deadline,) = shown(desk, rollout)["deadlines"]
    assert deadline["outcome"] == "cancelled: it was not started"
    desk.do(rollout, Verb.START)
    (deadline,) = shown(desk, rollout)["deadlines"]
    assert deadline == {
        "state": "Ramping",
        "at": "2026-01-15T09:00:00+00:00",
        "outcome": "rolled back: the champion stays",
    }


def test_a_bake_names_the_holdback_and_its_end(desk: Desk) -> None:
    rollout = desk.started()
    desk.see("on-time", epoch=1, **GREAT)
    desk.see("complaints", epoch=1, **CALM)
    desk.ticks(3)
    proposal = desk.open_proposal(rollout)
    assert proposal is not None
    desk.vote(proposal, "ben")
    desk.vote(proposal, "cleo")
    desk.ticks(2)
    status = shown(desk, rollout)
    assert status["state"] == "Baking"
    assert status["challenger_share"] == pytest.approx(0.98)
    assert "98% of traffic sees trees 7; 2% keeps the old champion" in status["sentence"]
    assert status["next"]["earliest_at"] is not None
    assert status["rollback_target"]["label"] == "logit 1"


def test_the_last_decision_is_the_newest(desk: Desk) -> None:
    rollout = desk.started()
    assert shown(desk, rollout)["last_decision"]["action"] == "start"
    desk.do(rollout, Verb.PAUSE, by="ben")
    last = shown(desk, rollout)["last_decision"]
    assert (last["action"], last["actor"]) == ("pause", "ben")


def test_another_projects_rollout_is_not_found(desk: Desk) -> None:
    rollout = desk.create()
    with desk.store.reading() as work, pytest.raises(NotFound):
        status_document(work, "other", rollout.id)
