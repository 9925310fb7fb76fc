"""The kill switch holds what it was set to, whatever is defined afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from controller.assignment.ruleset import Kill
from controller.errors import ChampionChangesByRollout, GuardFailed
from controller.flow import define
from controller.flow.kill import kill, lift
from controller.rollout.states import State
from tests.unit.flow.desk import CHALLENGER, CHAMPION, PROJECT, SLOT, Desk

RULE = {"name": "rule", "version": "1"}


def put(desk: Desk, **changes: Any) -> None:
    """Change the slot's definition as `root`; None leaves a field out."""
    with desk.store.reading() as work:
        stored = work.definitions.slot(PROJECT, SLOT)
    assert stored is not None
    document = {**stored.slot.document(), **changes}
    define.put_slot(
        desk.store,
        PROJECT,
        {name: value for name, value in document.items() if value is not None},
        key=SLOT,
        actor=desk.person("root"),
    )


def killed(desk: Desk) -> Kill:
    rules = desk.ruleset().slots[SLOT]
    assert rules.kill is not None
    return rules.kill


def test_a_kill_to_the_fallback_outlives_the_slots_fallback() -> None:
    desk = Desk(slot={"fallback": RULE})
    kill(desk.store, PROJECT, SLOT, to="fallback", actor=desk.person("ada"))
    assert killed(desk).model.name == "rule"
    put(desk, fallback={"name": "rule", "version": "2"})
    assert (killed(desk).to, killed(desk).model.version) == ("fallback", "1")
    put(desk, fallback=None)
    assert (killed(desk).to, killed(desk).model.version) == ("fallback", "1")
    lift(desk.store, PROJECT, SLOT, actor=desk.person("ada"))
    assert desk.ruleset().slots[SLOT].kill is None
    with pytest.raises(GuardFailed):
        kill(desk.store, PROJECT, SLOT, to="fallback", actor=desk.person("ada"))


def test_a_moving_champion_that_was_killed_to_goes_on_moving() -> None:
    desk = Desk(slot={"moving": True})
    kill(desk.store, PROJECT, SLOT, actor=desk.person("ada"))
    put(desk, champion={**CHAMPION, "version": "2"})
    assert (killed(desk).to, killed(desk).model.version) == ("champion", "2")


def test_a_champion_retrained_during_a_rollout_serves_its_arm_and_leaves_a_previous_one() -> None:
    desk = Desk(slot={"moving": True})
    rollout = desk.started()
    put(desk, champion={**CHAMPION, "version": "2"})
    rules = desk.ruleset().slots[SLOT]
    assert rules.rollout is not None
    assert {arm: model.version for arm, model in rules.rollout.arms.items()} == {
        "champion": "2",
        "challenger": CHALLENGER["version"],
    }
    desk.ticks(2)
    assert desk.state(rollout) is State.RAMPING
    kill(desk.store, PROJECT, SLOT, to="previous", actor=desk.person("ada"))
    assert killed(desk).model.version == "1"
    put(desk, champion={**CHAMPION, "version": "3"})
    assert killed(desk).model.version == "1"


def test_a_change_that_keeps_the_champion_leaves_the_previous_one_alone() -> None:
    desk = Desk(slot={"moving": True})
    put(desk, champion={**CHAMPION, "version": "2"})
    put(desk, description="what it is for", champion={**CHAMPION, "version": "2"})
    with desk.store.reading() as work:
        stored = work.definitions.slot(PROJECT, SLOT)
    assert stored is not None
    assert stored.previous_champion is not None
    assert stored.previous_champion.version == "1"


def test_a_challenger_becomes_champion_by_its_rollout_alone() -> None:
    desk = Desk(slot={"moving": True})
    rollout = desk.started()
    with pytest.raises(ChampionChangesByRollout, match=rollout.id):
        put(desk, champion=CHALLENGER)
    assert desk.champion() == "logit 1"


def test_killing_and_lifting_write_down_what_they_do_to_the_traffic() -> None:
    desk = Desk()
    rollout = desk.started()
    for step in (kill, kill, lift):
        step(desk.store, PROJECT, SLOT, note="why", actor=desk.person("ada"))
    with desk.store.reading() as work:
        told = [one.document for one in work.decisions.since(PROJECT, rollout.id)][-3:]
    status = desk.status(rollout)["status"]
    split, met = status["enrolled"], status["challenger_share"]
    assert split > met > 0
    assert [one["enrolled"] for one in told] == [[split, 0.0], [0.0, 0.0], [0.0, split]]
    assert [one["challenger_share"] for one in told] == [[met, 0.0], [0.0, 0.0], [0.0, met]]
    assert {one["note"] for one in told} == {"why"}
