"""Holdouts, layers and overrides from their definition to the ruleset, the log and the status."""

from __future__ import annotations

import json
from typing import Any

import pytest

from controller.assignment.choice import Choice, Reason
from controller.assignment.document import MAX_OVERRIDES, write_gates
from controller.assignment.evaluate import evaluate
from controller.errors import Conflict, InvalidInput, NotFound, NotPermitted
from controller.experiments.plans import Plan
from controller.flow import define, holdouts, kill, layers, overrides
from controller.flow.actors import MACHINE
from controller.flow.planning import observed_traffic
from controller.flow.traffic_rules import TrafficRules
from controller.rollout.states import State, Verb
from tests.unit.flow.desk import CHALLENGER, CHAMPION, PROJECT, SLOT, STEPS, Desk

UNITS = [f"flight-{number}" for number in range(2000)]
OTHER = "price-alert"


@pytest.fixture
def desk() -> Desk:
    desk = Desk({"ramp": ({"enrolled": 1.0, "dwell": "1h"},)})
    slot(desk, OTHER)
    return desk


def slot(desk: Desk, key: str, **changes: Any) -> None:
    document = {"unit": "departure", "champion": CHAMPION, "policy": "house", **changes}
    define.put_slot(desk.store, PROJECT, document, key=key, actor=MACHINE)


def hold_out(desk: Desk, share: float = 0.2, *, by: str = "root", **document: Any) -> None:
    holdouts.put_holdout(
        desk.store,
        PROJECT,
        {"unit": "departure", "share": share, **document},
        name="all",
        actor=desk.person(by),
    )


def lay(desk: Desk, name: str = "alerts", by: str = "root", **slots: float) -> layers.LayerView:
    shares = {key.replace("_", "-"): share for key, share in slots.items()}
    document = {"unit": "departure", "slots": shares}
    return layers.put_layer(desk.store, PROJECT, document, name=name, actor=desk.person(by))


def override(desk: Desk, unit: str, arm: str, by: str = "ben") -> overrides.OverrideView:
    return overrides.set_override(desk.store, PROJECT, SLOT, unit, arm, actor=desk.person(by))


def choice(desk: Desk, unit: str, key: str = SLOT) -> Choice:
    return evaluate(desk.ruleset(), key, unit)


def reasons(desk: Desk, key: str = SLOT) -> dict[str, Reason]:
    ruleset = desk.ruleset()
    return {unit: evaluate(ruleset, key, unit).reason for unit in UNITS}


def who(desk: Desk, reason: Reason) -> set[str]:
    return {unit for unit, met in reasons(desk).items() if met is reason}


def audited(desk: Desk, object: str, field: str | None = None) -> list[tuple[str, Any, Any]]:
    """Action, before and after of each entry; one field of them where it is named."""
    with desk.store.reading() as work:
        entries = work.audit.entries(PROJECT, object=object)
    records = [json.loads(entry.record)["details"] for entry in entries]
    sides = [[record.get("before"), record.get("after")] for record in records]
    if field is not None:
        sides = [[None if one is None else one[field] for one in pair] for pair in sides]
    return [
        (entry.action, before, after) for entry, (before, after) in zip(entries, sides, strict=True)
    ]


# ---------------------------------------------------------------- holdouts


def test_a_holdout_keeps_its_share_out_of_every_rollout(desk: Desk) -> None:
    desk.started()
    assert who(desk, Reason.HOLDOUT) == set()
    hold_out(desk, 0.2)
    held = who(desk, Reason.HOLDOUT)
    assert 0.15 < len(held) / len(UNITS) < 0.25
    assert {choice(desk, unit).arm for unit in held} == {"champion"}
    assert who(desk, Reason.SPLIT) == set(UNITS) - held


def test_a_larger_share_keeps_everybody_and_a_new_holdout_draws_anew(desk: Desk) -> None:
    desk.started()
    hold_out(desk, 0.1)
    first = who(desk, Reason.HOLDOUT)
    hold_out(desk, 0.3)
    assert first < who(desk, Reason.HOLDOUT)
    hold_out(desk, 0.1)
    assert who(desk, Reason.HOLDOUT) == first
    holdouts.delete_holdout(desk.store, PROJECT, "all", actor=desk.person("root"))
    assert who(desk, Reason.HOLDOUT) == set()
    hold_out(desk, 0.1)
    assert who(desk, Reason.HOLDOUT) != first, "the salt went with the holdout"


def test_two_holdouts_of_one_share_hold_out_different_units(desk: Desk) -> None:
    desk.started()
    hold_out(desk, 0.2)
    holdouts.put_holdout(
        desk.store,
        PROJECT,
        {"unit": "departure", "share": 0.2},
        name="second",
        actor=desk.person("root"),
    )
    share = len(who(desk, Reason.HOLDOUT)) / len(UNITS)
    assert 0.31 < share < 0.41, "1 - .8 * .8"


def test_a_holdout_with_a_tag_reaches_the_slots_that_carry_it(desk: Desk) -> None:
    rollout = desk.started()
    hold_out(desk, 0.5, tag="risky")
    assert who(desk, Reason.HOLDOUT) == set()
    with desk.store.reading() as work:
        stored = work.definitions.slot(PROJECT, SLOT)
        assert stored is not None
        document = stored.slot.document()
    tagged = {**document, "tags": ["risky"]}
    with pytest.raises(NotPermitted):
        define.put_slot(desk.store, PROJECT, tagged, key=SLOT, actor=desk.person("mira"))
    define.put_slot(desk.store, PROJECT, tagged, key=SLOT, actor=desk.person("root"))
    assert len(who(desk, Reason.HOLDOUT)) > 800
    with desk.store.reading() as work:
        newest = work.decisions.last(PROJECT, rollout.id)
    assert newest is not None
    assert newest.document == {"reach": [1.0, 0.5], "cause": f"slot/{SLOT}"}


def test_a_holdout_leaves_other_unit_types_alone(desk: Desk) -> None:
    desk.started()
    hold_out(desk, 0.5, unit="customer")
    assert who(desk, Reason.HOLDOUT) == set()


def test_a_holdout_is_for_policy_administrators_and_is_audited(desk: Desk) -> None:
    for name in ("ada", "ben", "vic"):
        with pytest.raises(NotPermitted):
            hold_out(desk, 0.1, by=name)
    hold_out(desk, 0.1)
    hold_out(desk, 0.1)
    hold_out(desk, 0.2)
    with pytest.raises(NotPermitted):
        holdouts.delete_holdout(desk.store, PROJECT, "all", actor=desk.person("ada"))
    holdouts.delete_holdout(desk.store, PROJECT, "all", actor=desk.person("root"))
    assert audited(desk, "holdout/all", "share") == [
        ("holdout_put", None, 0.1),
        ("holdout_put", 0.1, 0.2),
        ("holdout_deleted", 0.2, None),
    ]
    with pytest.raises(NotFound):
        holdouts.delete_holdout(desk.store, PROJECT, "all", actor=desk.person("root"))


def test_a_change_that_moves_a_live_rollout_stands_in_its_log(desk: Desk) -> None:
    rollout = desk.started()
    hold_out(desk, 0.2)
    with desk.store.reading() as work:
        newest = work.decisions.last(PROJECT, rollout.id)
        seen = holdouts.holdout_view(work, PROJECT, "all")
    assert newest is not None
    assert (newest.action, newest.actor) == ("reach_changed", "root")
    assert newest.document == {"reach": [1.0, 0.8], "cause": "holdout/all"}
    assert (seen.slots, seen.live) == ((SLOT, OTHER), (rollout.id,))


# ---------------------------------------------------------------- layers


def test_slots_of_a_layer_share_no_unit(desk: Desk) -> None:
    view = lay(desk, late_flight_alert=0.3, price_alert=0.6)
    assert view.document()["status"]["ranges"] == {
        "late-flight-alert": [[0, 3000]],
        "price-alert": [[3000, 9000]],
    }
    assert view.free == pytest.approx(0.1)
    desk.started()
    inside = who(desk, Reason.SPLIT)
    assert who(desk, Reason.LAYER) == set(UNITS) - inside
    assert 0.25 < len(inside) / len(UNITS) < 0.35
    layer = desk.ruleset().slots[OTHER].layer
    mine = desk.ruleset().slots[SLOT].layer
    assert layer is not None
    assert mine is not None
    assert (layer.salt, layer.ranges) == (mine.salt, ((3000, 9000),))


def test_an_edit_of_a_layer_moves_as_few_as_it_can(desk: Desk) -> None:
    desk.started()
    lay(desk, late_flight_alert=0.3, price_alert=0.3)
    before = who(desk, Reason.SPLIT)
    lay(desk, late_flight_alert=0.5, price_alert=0.3)
    assert before < who(desk, Reason.SPLIT)
    lay(desk, late_flight_alert=0.3, price_alert=0.3)
    assert who(desk, Reason.SPLIT) == before
    lay(desk, price_alert=0.3)
    assert who(desk, Reason.SPLIT) == set(UNITS), "it is in no layer any more"


def test_a_layer_takes_slots_that_fit(desk: Desk) -> None:
    with pytest.raises(InvalidInput, match="no such slot"):
        lay(desk, nowhere=0.5)
    slot(desk, "by-customer", unit="customer")
    with pytest.raises(InvalidInput, match="unit is 'customer'"):
        lay(desk, by_customer=0.5)
    lay(desk, price_alert=0.5)
    with pytest.raises(Conflict, match="one layer at most"):
        lay(desk, "second", price_alert=0.1)
    with pytest.raises(NotPermitted):
        lay(desk, by="ada", price_alert=0.6)
    with pytest.raises(Conflict, match="take it out of the layer"):
        slot(desk, OTHER, unit="customer")
    layers.delete_layer(desk.store, PROJECT, "alerts", actor=desk.person("root"))
    slot(desk, OTHER, unit="customer")
    assert audited(desk, "layer/alerts", "slots") == [
        ("layer_put", None, {OTHER: 0.5}),
        ("layer_deleted", {OTHER: 0.5}, None),
    ]
    with pytest.raises(NotFound):
        layers.delete_layer(desk.store, PROJECT, "alerts", actor=desk.person("root"))


# ---------------------------------------------------------------- overrides


def test_an_override_gives_one_unit_one_arm(desk: Desk) -> None:
    desk.started()
    by_split = {unit: choice(desk, unit).arm for unit in UNITS[:50]}
    unit, arm = next((unit, arm) for unit, arm in by_split.items() if arm == "champion")
    assert override(desk, unit, "challenger").meets == "challenger"
    met = choice(desk, unit)
    assert (met.reason, met.arm, met.exposed) == (Reason.OVERRIDE, "challenger", False)
    assert {one: choice(desk, one).arm for one in by_split if one != unit} == {
        one: met for one, met in by_split.items() if one != unit
    }
    override(desk, unit, "champion")
    assert choice(desk, unit).arm == arm
    overrides.delete_override(desk.store, PROJECT, SLOT, unit, actor=desk.person("ben"))
    assert choice(desk, unit).reason is Reason.SPLIT
    with pytest.raises(NotFound):
        overrides.delete_override(desk.store, PROJECT, SLOT, unit, actor=desk.person("ben"))


def test_the_list_has_hashes_and_a_hash_is_enough_to_delete(desk: Desk) -> None:
    override(desk, "a-secret-id", "challenger")
    with desk.store.reading() as work:
        (seen,) = overrides.overrides_of(work, PROJECT, SLOT)
    assert (seen.stored.arm, seen.stored.set_by, seen.meets) == ("challenger", "ben", None)
    name = f"override/{SLOT}/{seen.stored.unit_hash}"
    assert audited(desk, name) == [("override_set", None, "challenger")]
    with desk.database.read() as connection:
        kept = "\n".join(str(row) for row in connection.connection.driver_connection.iterdump())  # type: ignore[union-attr]
    assert seen.stored.unit_hash in kept
    assert "a-secret-id" not in kept
    assert b"a-secret-id" not in desk.ruleset().encode()
    for name, error in (("nothing", InvalidInput), ("0" * 16, NotFound)):
        with pytest.raises(error):
            remove(desk, name)
    remove(desk, seen.stored.unit_hash)
    with desk.store.reading() as work:
        assert overrides.overrides_of(work, PROJECT, SLOT) == []


def remove(desk: Desk, unit_hash: str) -> None:
    overrides.delete_override_by_hash(
        desk.store, PROJECT, SLOT, unit_hash, actor=desk.person("ben")
    )


def test_an_arm_that_the_rollout_lacks_gives_the_champion(desk: Desk) -> None:
    desk.started()
    assert override(desk, "flight-1", "challenger-2").meets == "champion"
    met = choice(desk, "flight-1")
    assert (met.reason, met.arm) == (Reason.OVERRIDE, "champion")


def test_a_rollback_takes_back_what_was_set_by_hand(desk: Desk) -> None:
    rollout = desk.started()
    override(desk, "flight-1", "challenger")
    desk.do(rollout, Verb.ROLLBACK, by="ben")
    assert desk.state(rollout) is State.ROLLING_BACK
    assert choice(desk, "flight-1").arm == "champion"
    with desk.store.reading() as work:
        assert [one.meets for one in overrides.overrides_of(work, PROJECT, SLOT)] == ["champion"]


def test_an_arm_that_is_given_up_is_taken_from_who_was_set_by_hand(desk: Desk) -> None:
    other = {"name": "forest", "version": "2"}
    rollout = desk.started(challengers=[CHALLENGER, other])
    for unit, arm in (("flight-1", "challenger-1"), ("flight-2", "challenger-2")):
        assert override(desk, unit, arm).meets == arm
    weights = {"champion": 2 / 3, "challenger-1": 0, "challenger-2": 1 / 3}
    desk.do(rollout, Verb.EDIT, edits={"weights": weights})
    assert [choice(desk, unit).arm for unit in ("flight-1", "flight-2")] == [
        "champion",
        "challenger-2",
    ]
    with desk.store.reading() as work:
        seen = {one.stored.arm: one.meets for one in overrides.overrides_of(work, PROJECT, SLOT)}
    assert seen == {"challenger-1": "champion", "challenger-2": "challenger-2"}


def test_a_kill_wins_over_all_of_them(desk: Desk) -> None:
    desk.started()
    hold_out(desk, 0.3)
    lay(desk, late_flight_alert=0.5)
    override(desk, "flight-1", "challenger")
    assert {*reasons(desk).values()} == {
        Reason.OVERRIDE, Reason.HOLDOUT, Reason.LAYER, Reason.SPLIT,
    }  # fmt: skip
    kill.kill(desk.store, PROJECT, SLOT, actor=desk.person("ben"))
    assert {*reasons(desk).values()} == {Reason.KILLED}
    with desk.store.reading() as work:
        assert [one.meets for one in overrides.overrides_of(work, PROJECT, SLOT)] == ["champion"]


def test_overrides_have_a_limit_a_shape_and_a_role(desk: Desk) -> None:
    with pytest.raises(NotPermitted):
        override(desk, "flight-1", "challenger", by="mira")
    with pytest.raises(InvalidInput):
        override(desk, "", "challenger")
    with pytest.raises(NotFound):
        overrides.set_override(desk.store, PROJECT, "no-slot", "u", "champion", actor=MACHINE)
    for arm in ("", "baseline", "challenger-0", "challenger-100", "Champion", 3, None):
        with pytest.raises(InvalidInput):
            overrides.read_arm({"arm": arm})
    with desk.store.writing() as work:
        work.traffic.set_override_key(PROJECT, SLOT, "k")
        for number in range(MAX_OVERRIDES):
            work.traffic.put_override(
                PROJECT, SLOT, f"{number:016x}", "challenger", actor="ben", at=work.now
            )
    with pytest.raises(Conflict, match="1,000"):
        override(desk, "one-more", "challenger")
    with pytest.raises(Conflict, match="has overrides"):
        slot(desk, SLOT, unit="customer")


# ---------------------------------------------------------------- what follows


def test_the_status_says_why_not_everybody_meets_the_rollout() -> None:
    desk = Desk({"ramp": STEPS})
    rollout = desk.started()
    hold_out(desk, 0.2)
    lay(desk, late_flight_alert=0.5)
    override(desk, "flight-1", "challenger")
    status = desk.status(rollout)["status"]
    assert status["reach"] == {
        "share": pytest.approx(0.4),
        "sentence": "At most 40% can take part: 20% is held out and layer alerts gives the slot "
        "50%.",
        "held_out": pytest.approx(0.2),
        "holdouts": [{"name": "all", "share": 0.2, "tag": None}],
        "layer": {"name": "alerts", "share": 0.5},
        "overrides": 1,
    }
    assert (status["enrolled"], status["challenger_share"]) == (0.1, 0.05)
    assert status["challenger_traffic"] == pytest.approx(0.02)
    assert status["sentence"].startswith(
        "2% of traffic sees trees 7 (4% takes part in the test). At most 40% can take part: "
        "20% is held out and layer alerts gives the slot 50%."
    )


def test_an_edit_that_changes_nothing_publishes_nothing(desk: Desk) -> None:
    hold_out(desk, 0.2)
    lay(desk, price_alert=0.5)
    override(desk, "flight-1", "challenger")
    version = desk.ruleset().version
    hold_out(desk, 0.2)
    lay(desk, price_alert=0.5)
    override(desk, "flight-1", "challenger")
    assert desk.ruleset().version == version


def test_the_gates_are_remembered_under_the_version_that_brought_them(desk: Desk) -> None:
    desk.started()
    hold_out(desk, 0.2)
    version = desk.ruleset().version
    override(desk, "flight-1", "challenger")
    rules = desk.ruleset().slots[SLOT]
    with desk.store.reading() as work:
        known = work.traffic.gates(PROJECT)
        stored = work.definitions.slot(PROJECT, SLOT)
        assert stored is not None
        gates = TrafficRules(work, PROJECT).gates(stored.slot, ("champion", "challenger"))
    assert known[SLOT] == write_gates(gates)
    assert (gates.overrides, gates.holdouts) == (rules.overrides, rules.holdouts)
    assert set(known[OTHER]) == {"holdouts"}
    assert desk.ruleset().version > version


def test_a_plan_that_was_stored_before_there_were_tags_reads_back(desk: Desk) -> None:
    plan = desk.get(desk.started()).frozen_plan
    assert "tags" not in plan.document()["slot"]
    assert Plan.from_document(plan.document()).sha256 == plan.sha256


def test_planning_counts_only_units_that_may_be_reached(desk: Desk) -> None:
    desk.observed_days = (60, 100)
    with desk.store.reading() as work:
        stored = work.definitions.slot(PROJECT, SLOT)
        assert stored is not None
        free = observed_traffic(work, PROJECT, stored.slot)
    assert (free.low, free.high) == (1200.0, 2000.0)
    hold_out(desk, 0.2)
    lay(desk, late_flight_alert=0.5)
    with desk.store.reading() as work:
        kept = observed_traffic(work, PROJECT, stored.slot)
    assert [kept.low, kept.high] == pytest.approx([480.0, 800.0])
    hold_out(desk, 1.0)
    with desk.store.reading() as work, pytest.raises(InvalidInput, match="100% is held out"):
        observed_traffic(work, PROJECT, stored.slot)
