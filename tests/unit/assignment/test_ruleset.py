import json
from typing import Any

import pytest

from controller.assignment.choice import Reason
from controller.assignment.evaluate import evaluate
from controller.assignment.hashing import keyed_hash
from controller.assignment.ruleset import Kill, Layer, Overrides, Ruleset, Share, digest
from controller.errors import RulesetRefused
from tests.unit.assignment.rulesets import CHAMPION, PREVIOUS, rollout, ruleset, slot


def full() -> Ruleset:
    return ruleset(
        slot(
            rollout(
                retired=((10, 20),),
                eligible={"attribute": "x", "op": "in", "value": ["é", "b"]},
                sticky="exceptions",
                aa=True,
                ends_at=1_800_000_000,
                exceptions="ab" * 32,
            ),
            fallback=PREVIOUS,
            kill=Kill(to="previous", model=PREVIOUS),
            overrides=Overrides(key="k", arms={keyed_hash("k", "departure", "1"): "challenger"}),
            holdouts=(Share(name="global", salt="h", ppm=1),),
            layer=Layer(name="checkout", salt="l", ranges=((0, 100), (200, 300))),
            clients=True,
            bulk_expose=True,
        ),
        slot(slot="quiet", observe=None),
    )


def document(**changes: Any) -> dict[str, Any]:
    return {**full().document(), **changes}


def edited(path: str, value: Any) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(full().encode())
    *parents, last = path.split(".")
    part = whole
    for name in parents:
        part = part[name]
    part[last] = value
    return whole


def test_the_bytes_are_canonical_and_give_the_same_ruleset_back() -> None:
    body = full().encode()
    again = Ruleset.from_bytes(body)
    assert again == full()
    assert again.encode() == body
    assert digest(body) == digest(again.encode())
    assert b" " not in body.replace(b"late-flight", b"")
    assert "é".encode() in body


def test_no_raw_unit_id_is_in_the_bytes() -> None:
    secret = "customer-31337"
    rules = ruleset(
        slot(
            rollout(),
            overrides=Overrides(key="k", arms={keyed_hash("k", "departure", secret): "challenger"}),
        )
    )
    assert secret.encode() not in rules.encode()
    assert evaluate(rules, "alert", secret).reason is Reason.OVERRIDE


def test_unknown_keys_are_ignored_everywhere() -> None:
    whole = json.loads(full().encode())
    for part in (
        whole,
        whole["slots"]["alert"],
        whole["slots"]["alert"]["rollout"],
        whole["slots"]["alert"]["champion"],
        whole["slots"]["alert"]["layer"],
    ):
        part["from_the_future"] = {"x": [1]}
    assert Ruleset.from_document(whole) == full()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"\xff\xfe",
        b'{"schema":NaN}',
        b"[" * 100_000,
    ],
)
def test_damaged_bytes_are_refused(body: bytes) -> None:
    with pytest.raises(RulesetRefused):
        Ruleset.from_bytes(body)


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": 2},
        {"schema": True},
        {"schema": "1"},
        {"version": 0},
        {"version": 1.0},
        {"version": None},
        {"project": ""},
        {"deployment": None},
        {"slots": None},
        {"slots": []},
        {"slots": {}},
        {"event_schema": "1"},
    ],
)
def test_a_ruleset_without_its_frame_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(RulesetRefused):
        Ruleset.from_document(document(**changes))


def test_an_explicit_empty_is_honoured() -> None:
    empty = ruleset()
    assert json.loads(empty.encode())["empty"] is True
    assert Ruleset.from_bytes(empty.encode()).slots == {}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("slots.alert.rollout.algo", 3),
        ("slots.alert.rollout.runs", [[9999, "champion"]]),
        ("slots.alert.rollout.runs", [[10_000, "someone"]]),
        ("slots.alert.rollout.retired", [[5, 4]]),
        ("slots.alert.rollout.enrolled_ppm", 1_000_001),
        ("slots.alert.rollout.enrolled_ppm", 0.5),
        ("slots.alert.rollout.enrolled_ppm", True),
        ("slots.alert.rollout.sticky", "forever"),
        ("slots.alert.rollout.arms", {"challenger": {"name": "a", "version": "1"}}),
        ("slots.alert.rollout.eligible", "all"),
        ("slots.alert.rollout", []),
        ("slots.alert.holdouts", {}),
        ("slots.alert.layer.ranges", [[0, 10_001]]),
        ("slots.alert.overrides.arms", {str(n): "champion" for n in range(1001)}),
        ("slots.alert.overrides.arms", {"ab": 1}),
        ("slots.alert.observe.ppm", -1),
        ("slots.alert.unit", ""),
        ("slots.alert.clients", "yes"),
        ("slots.alert.fallback", {"name": "x"}),
    ],
)
def test_a_slot_that_cannot_be_evaluated_answers_its_champion_and_is_named(
    path: str, value: Any
) -> None:
    whole = edited(path, value)
    del whole["slots"]["alert"]["kill"]
    rules = Ruleset.from_document(whole)
    mine = evaluate(rules, "alert", "1")
    assert (mine.arm, mine.model, mine.reason) == ("champion", CHAMPION, Reason.ERROR)
    assert not mine.exposed
    assert set(rules.unreadable) == {"alert"}
    assert evaluate(rules, "quiet", "1").reason is Reason.NO_ROLLOUT


def test_a_kill_holds_even_where_the_rest_cannot_be_read() -> None:
    rules = Ruleset.from_document(edited("slots.alert.rollout.algo", 99))
    assert evaluate(rules, "alert", "1").reason is Reason.KILLED
    assert evaluate(rules, "alert", "1").model == PREVIOUS


@pytest.mark.parametrize("kill", [{"to": "nowhere"}, {"to": "champion", "model": None}, 1])
def test_a_kill_that_cannot_be_read_still_stops_the_challenger(kill: Any) -> None:
    rules = Ruleset.from_document(edited("slots.alert.kill", kill))
    mine = evaluate(rules, "alert", "1")
    assert (mine.arm, mine.model, mine.reason) == ("champion", CHAMPION, Reason.ERROR)


@pytest.mark.parametrize("value", [None, [], "x", {"champion": 3}])
def test_a_slot_without_a_champion_answers_without_a_model(value: Any) -> None:
    whole = edited("slots.alert", value)
    rules = Ruleset.from_document(whole)
    assert evaluate(rules, "alert", "1").model is None
    assert evaluate(rules, "alert", "1").reason is Reason.ERROR
