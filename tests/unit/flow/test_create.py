"""What may be asked for, by whom, and what is refused with which sentence."""

from __future__ import annotations

from typing import Any

import pytest

from controller.errors import (
    BaselineUnknown,
    Conflict,
    InvalidInput,
    NotFound,
    NotPermitted,
    PolicyNotAllowed,
    QuorumImpossible,
)
from controller.flow.actors import Actor, Role, Scope
from controller.flow.create import create_rollout
from controller.flow.ports.statistics import Observed
from controller.rollout.states import State, Verb
from tests.unit.flow.desk import CHALLENGER, CHAMPION, PEOPLE, PROJECT, SLOT, Desk


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_draft_occupies_nothing_and_is_written_down(desk: Desk) -> None:
    first, second = desk.create(), desk.create(by="ben")
    assert {first.state, second.state} == {State.DRAFT}
    assert first.salt != second.salt
    assert first.draft.requested_by == "ada"
    assert desk.log(first) == ["create"]
    assert desk.audit().intact


def test_an_unknown_slot_is_refused(desk: Desk) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        desk.create(slot="nowhere")


def test_an_occupied_slot_names_the_rollout_that_lives_in_it(desk: Desk) -> None:
    rollout = desk.started()
    with pytest.raises(Conflict, match=rollout.id) as refused:
        desk.create()
    assert refused.value.details["rollout"] == rollout.id


def test_a_second_draft_cannot_be_submitted_beside_a_living_rollout(desk: Desk) -> None:
    first, second = desk.create(), desk.create()
    desk.do(first, Verb.SUBMIT)
    with pytest.raises(Conflict, match=first.id):
        desk.do(second, Verb.SUBMIT)


def test_a_policy_the_slot_does_not_list_is_refused(desk: Desk) -> None:
    desk.policy({}, name="wild")
    with pytest.raises(PolicyNotAllowed, match="house"):
        desk.create(policy="wild")


@pytest.mark.parametrize(
    ("challengers", "says"),
    [
        ([], "one to 8"),
        ([CHAMPION], "already the champion"),
        ([CHALLENGER, CHALLENGER], "stands twice"),
        ([{"name": "trees"}], "version"),
    ],
)
def test_challengers_are_others_and_different(
    desk: Desk, challengers: list[object], says: str
) -> None:
    with pytest.raises(InvalidInput, match=says):
        desk.create(challengers=challengers)


def test_a_slot_without_a_deciding_metric_is_refused() -> None:
    desk = Desk(slot={"oec": None})
    with pytest.raises(InvalidInput, match="no oec"):
        desk.create()


def test_shadow_is_refused_until_predictions_exist() -> None:
    desk = Desk({"shadow": {}})
    with pytest.raises(InvalidInput, match="not available yet"):
        desk.create()


def test_a_quorum_nobody_can_meet_is_refused_with_the_command_that_helps() -> None:
    alone = {name: PEOPLE[name] for name in ("ada", "ben", "root")}
    desk = Desk(people=alone)
    with pytest.raises(QuorumImpossible, match="controller operator add NAME --roles approver"):
        desk.create(by="ada")


def test_authors_and_the_policys_editor_do_not_count_towards_a_quorum() -> None:
    approver = frozenset({Role.APPROVER})
    people = {
        "ada": PEOPLE["ada"],
        "ben": approver,
        "mira": approver,
        "root": frozenset({Role.ADMIN, Role.POLICY_ADMIN, Role.APPROVER}),
    }
    desk = Desk(people=people)
    with pytest.raises(QuorumImpossible, match="only ben could"):
        desk.create(by="ada")


def test_a_gate_may_ask_for_people_of_a_group() -> None:
    gate = {"quorum": 2, "groups": {"auditor": 1}}
    desk = Desk({"approvals": {"promote": gate}})
    with pytest.raises(QuorumImpossible, match="approver,auditor"):
        desk.create()


def test_a_person_asks_for_themselves_and_a_key_names_whom_it_asks_for(desk: Desk) -> None:
    with pytest.raises(InvalidInput, match="asks for themselves"):
        desk.create(requested_by="cleo")
    key = Actor(name="key:k1", kind="key", scopes=frozenset({Scope.ADMIN}), method="key")
    wanted: dict[str, Any] = {"slot": SLOT, "challengers": [CHALLENGER], "actor": key}
    with pytest.raises(InvalidInput, match="names the operator"):
        create_rollout(desk.store, PROJECT, **wanted)
    with pytest.raises(InvalidInput, match="no operator"):
        create_rollout(desk.store, PROJECT, requested_by="nobody", **wanted)
    made = create_rollout(desk.store, PROJECT, requested_by="ada", **wanted)
    assert made.draft.requested_by == "ada"


def test_viewers_and_approvers_do_not_ask_for_rollouts(desk: Desk) -> None:
    for name in ("vic", "cleo"):
        with pytest.raises(NotPermitted):
            desk.create(by=name)


def test_submitting_freezes_what_it_will_be_judged_by(desk: Desk) -> None:
    rollout = desk.create()
    submitted = desk.do(rollout, Verb.SUBMIT)
    plan = submitted.frozen_plan
    assert plan.horizon == 10_000
    assert dict(plan.weights) == {"champion": 0.5, "challenger": 0.5}
    desk.policy({"oec": {"horizon": 400}})
    assert desk.get(rollout).frozen_plan.sha256 == plan.sha256
    assert desk.get(rollout).frozen_plan.policy.version == 1


def test_without_horizon_or_history_a_smallest_effect_cannot_be_used() -> None:
    desk = Desk({"oec": {}}, slot={"oec": {"metric": "on-time", "mde": 0.02}})
    with pytest.raises(BaselineUnknown, match="has no baseline"):
        desk.do(desk.create(), Verb.SUBMIT)


def test_without_any_smallest_effect_a_horizon_is_asked_for() -> None:
    desk = Desk({"oec": {}})
    desk.baseline = Observed(units=1000, mean=0.5, sd=0.5)
    with pytest.raises(BaselineUnknown, match=r"oec\.horizon"):
        desk.do(desk.create(), Verb.SUBMIT)


def test_a_smallest_effect_and_a_history_give_the_horizon() -> None:
    desk = Desk({"oec": {}}, slot={"oec": {"metric": "on-time", "mde": 0.02}})
    desk.baseline = Observed(units=1000, mean=0.5, sd=0.5)
    plan = desk.do(desk.create(), Verb.SUBMIT).frozen_plan
    # Fixed horizon: (1.96 + 1.2816)^2 * 0.25 / 0.02^2 * 4 = 26,269 units; looking costs a tenth.
    assert 26_270 < plan.horizon < 31_000


def test_several_challengers_share_the_traffic_equally(desk: Desk) -> None:
    others = [CHALLENGER, {"name": "net", "version": "2"}]
    plan = desk.do(desk.create(challengers=others), Verb.SUBMIT).frozen_plan
    assert plan.challengers == ("challenger-1", "challenger-2")
    assert set(plan.weights.values()) == {1 / 3}
