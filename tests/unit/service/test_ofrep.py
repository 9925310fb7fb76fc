"""OFREP where the unmodified clients cannot look: addresses, tags, tokens, who needs a unit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from controller.assignment.choice import Pin
from controller.flow.actors import Scope
from controller.flow.exposure_tokens import LIFE_SECONDS
from controller.flow.live import live_rollouts
from controller.flow.ports_pins import PinKey
from controller.service.api.ofrep import TOKEN_RENEWED_SECONDS
from tests.merging import SPEND, TYPE, except_units, publish_exceptions
from tests.traffic import World
from tests.web import Web, serving

FLAGS = "/ofrep/v1/evaluate/flags"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with serving(tmp_path_factory.mktemp("ofrep"), limited=False) as serving_web:
        serving_web.define("late")
        serving_web.define("open", clients=True)
        yield serving_web


def ask(web: Web, path: str, context: Any, *, key: str | None = None, **headers: str) -> Any:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    who = key or web.keys[Scope.EVALUATE]
    return web.call("POST", path, who, json={"context": context}, headers=named)


@pytest.mark.parametrize(
    ("key", "named"),
    [("nobody", "nobody"), ("a/b", "a/b"), ("a%2Fb", "a/b"), ("a%20b", "a b"), ("LATE", "LATE")],
)
def test_a_key_that_is_no_slot_is_an_unknown_flag_however_it_is_written(
    key: str, named: str, web: Web
) -> None:
    answer = ask(web, f"{FLAGS}/{key}", {"targetingKey": "u"})
    assert answer.status_code == 404
    assert answer.mimetype == "application/json"
    assert answer.json.keys() == {"key", "errorCode", "errorDetails"}
    assert (answer.json["key"], answer.json["errorCode"]) == (named, "FLAG_NOT_FOUND")


def test_no_key_at_all_is_an_unknown_flag_without_a_name(web: Web) -> None:
    answer = ask(web, f"{FLAGS}/", {"targetingKey": "u"})
    assert (answer.status_code, answer.json["errorCode"]) == (404, "FLAG_NOT_FOUND")
    assert "key" not in answer.json


def test_the_fixed_part_of_any_address_with_a_part_at_its_end_is_no_address(web: Web) -> None:
    for method, fixed in web.router.hot:
        if fixed.endswith("/"):
            answer = web.call(method, fixed, web.keys[Scope.ADMIN], json={})
            assert answer.status_code == 404, fixed


def test_an_address_that_cannot_be_read_is_refused_in_the_protocols_form(web: Web) -> None:
    answer = ask(web, f"{FLAGS}/a;b", {"targetingKey": "u"})
    assert (answer.status_code, answer.json["errorCode"]) == (400, "GENERAL")
    elsewhere = web.call("POST", "/ofrep/v1/elsewhere", web.keys[Scope.ADMIN], json={})
    assert elsewhere.json["code"] == "route_not_found"


def test_a_refused_bulk_names_no_key(web: Web) -> None:
    answer = ask(web, FLAGS, {"targetingKey": 7})
    assert (answer.status_code, answer.json["errorCode"]) == (400, "INVALID_CONTEXT")
    assert answer.json.keys() == {"errorCode", "errorDetails"}


def test_without_a_unit_there_is_no_token_to_expose_it_with(web: Web) -> None:
    for context in ({}, {"targetingKey": ""}, {"targetingKey": None}):
        single = ask(web, f"{FLAGS}/late", context).json
        (bulk,) = (flag for flag in ask(web, FLAGS, context).json["flags"] if flag["key"] == "late")
        for flag in (single, bulk):
            assert flag["metadata"]["exposure"] == "none"
            assert "exposure_token" not in flag["metadata"]
    looked = ask(web, f"{FLAGS}/late", {"targetingKey": "-", "expose": False}).json
    assert "exposure_token" in looked["metadata"]


@pytest.mark.parametrize("unit", ["a\x1fb", "x" * 257, 7, ["u"]])
@pytest.mark.parametrize("path", [FLAGS, f"{FLAGS}/late"])
def test_a_unit_that_is_no_id_is_an_invalid_context_in_bulk_too(
    path: str, unit: Any, web: Web
) -> None:
    answer = ask(web, path, {"targetingKey": unit})
    assert (answer.status_code, answer.json["errorCode"]) == (400, "INVALID_CONTEXT")


def test_a_token_that_is_not_good_costs_only_itself(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag = ask(web, f"{FLAGS}/late", {"targetingKey": "u-9", "expose": False}).json
    good = flag["metadata"]["exposure_token"]

    def used(*tokens: str) -> Any:
        return web.call(
            "POST", "/v1/expose", web.keys[Scope.EVALUATE], json={"tokens": list(tokens)}
        )

    answer = used("junk", good, good[:-2] + "AA")
    assert answer.status_code == 200
    assert answer.json["exposure"] == "durable"
    assert [one["index"] for one in answer.json["rejected"]] == [0, 2]
    assert {one["code"] for one in answer.json["rejected"]} == {"invalid_input"}
    assert used(good).json == {"exposure": "durable", "rejected": []}
    none = used("junk", "more junk")
    assert none.status_code == 422
    assert [(one["index"], one["code"]) for one in none.json["rejected"]] == [
        (0, "invalid_input"),
        (1, "invalid_input"),
    ]
    now = web.runtime.clock()
    monkeypatch.setitem(vars(web.runtime), "clock", lambda: now + LIFE_SECONDS + 1)
    over = used(good)
    assert (over.status_code, "over" in over.json["detail"]) == (422, True)


def test_the_tag_covers_the_context_the_kind_of_key_and_the_tokens_age(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = {"targetingKey": "u", "plan": "free", "age": 3}
    first = ask(web, FLAGS, context)
    tag = first.headers["ETag"]
    turned = dict(reversed(context.items()))
    assert ask(web, FLAGS, turned, If_None_Match=tag).status_code == 304
    for other in ({**context, "age": 4}, {**context, "more": True}, {"targetingKey": "u"}):
        assert ask(web, FLAGS, other, If_None_Match=tag).status_code == 200
    browser = web.key(Scope.EVALUATE, origins=["https://shop.example"])
    narrow = ask(web, FLAGS, context, key=browser, If_None_Match=tag)
    assert narrow.status_code == 200
    assert [flag["key"] for flag in narrow.json["flags"]] == ["open"]
    now = web.runtime.clock()
    monkeypatch.setitem(vars(web.runtime), "clock", lambda: now + TOKEN_RENEWED_SECONDS)
    later = ask(web, FLAGS, context, If_None_Match=tag)
    assert later.status_code == 200
    tokens = [
        {flag["metadata"]["exposure_token"] for flag in answer.json["flags"]}
        for answer in (first, later)
    ]
    assert not tokens[0] & tokens[1]


def test_a_changed_slot_changes_the_tag(web: Web) -> None:
    tag = ask(web, FLAGS, {"targetingKey": "u"}).headers["ETag"]
    web.define("newcomer")
    web.runtime.rulesets.fresh("default")
    assert ask(web, FLAGS, {"targetingKey": "u"}, If_None_Match=tag).status_code == 200


# ---------------------------------------------------------------- with a rollout


@dataclass
class Split:
    """A live rollout in a slot of its own, beside a slot at rest."""

    web: Web
    world: World

    @property
    def slot(self) -> str:
        return self.world.plan.slot.key

    def pin(self, unit: str, arm: str) -> None:
        """As the worker does for a unit that turned out to be another."""
        (one,) = live_rollouts(self.web.store)
        key = PinKey(project="default", unit_type=TYPE, unit=unit)
        pin = Pin(allocation=1, arm=arm, bucket=0)
        self.web.runtime.pins.impose([(key, pin)], one.rollout.id, ttl_seconds=3600)


@pytest.fixture
def split(tmp_path: Path) -> Iterator[Split]:
    with serving(tmp_path, limited=False) as served:
        world = World(served.database, [SPEND])
        except_units(served.store, ["somebody"])
        publish_exceptions(served.store)
        yield Split(served, world)


def test_a_tag_does_not_outlive_the_arm_it_was_given_for(split: Split) -> None:
    unit = split.world.units(1, arm="champion")[0]
    context = {"targetingKey": unit}
    first = ask(split.web, FLAGS, context)
    tag = first.headers["ETag"]
    assert [flag["variant"] for flag in first.json["flags"]] == ["champion"]
    assert ask(split.web, FLAGS, context, If_None_Match=tag).status_code == 304
    split.pin(unit, "challenger")
    merged = ask(split.web, FLAGS, context, If_None_Match=tag)
    assert merged.status_code == 200
    assert [flag["variant"] for flag in merged.json["flags"]] == ["challenger"]
    again = ask(split.web, FLAGS, context, If_None_Match=merged.headers["ETag"])
    assert again.status_code == 304


BAD_UNITS: list[Any] = ["a\u0085", "x" * 257, "x" * 200 + "\u00e9" * 50, "", 7, ["u"], None]


@pytest.mark.parametrize("unit", BAD_UNITS)
def test_a_kill_reaches_what_is_no_unit_by_every_door(unit: Any, split: Split) -> None:
    web, slot = split.web, split.slot
    web.define("rest")
    killed = web.call("POST", f"/v1/slots/{slot}/kill", web.keys[Scope.STOP], json={})
    assert killed.status_code == 200
    web.runtime.rulesets.refresh("default")
    context = {} if unit is None else {"targetingKey": unit}
    single = ask(web, f"{FLAGS}/{slot}", context)
    assert (single.status_code, single.json["metadata"]["reason"]) == (200, "KILLED")
    (flag,) = (flag for flag in ask(web, FLAGS, context).json["flags"] if flag["key"] == slot)
    assert flag["metadata"]["reason"] == "KILLED"
    if isinstance(unit, str):
        key, asked = web.keys[Scope.EVALUATE], {"slot": slot, "unit": unit}
        plain = web.call("POST", "/v1/assign", key, json=asked)
        assert (plain.status_code, plain.json["reason"]) == (200, "KILLED")
        batch = web.call("POST", "/v1/assign/batch", key, json={"requests": [asked]})
        assert batch.json["assignments"][0]["reason"] == "KILLED"


def test_in_bulk_a_bad_unit_costs_only_the_slots_that_need_one(split: Split) -> None:
    web, slot = split.web, split.slot
    web.call("POST", f"/v1/slots/{slot}/kill", web.keys[Scope.STOP], json={})
    web.define("rest")
    web.runtime.rulesets.refresh("default")
    flags = ask(web, FLAGS, {"targetingKey": "a\u0007"}).json["flags"]
    assert {flag["key"]: flag.get("errorCode") for flag in flags} == {
        slot: None,
        "rest": "INVALID_CONTEXT",
    }
