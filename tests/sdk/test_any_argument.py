"""Whatever a call is given, it gives an answer."""

from __future__ import annotations

from typing import Any

import pytest

from controller.assignment.choice import Reason
from controller.assignment.hashing import PPM
from controller.assignment.ruleset import Ruleset
from tests.sdk.conftest import MakeClient
from tests.sdk.service import Service
from tests.unit.assignment.rulesets import CHAMPION, rollout, ruleset, slot


@pytest.mark.parametrize("unit", ["", None, 7, "\ud800", "a\x00b", ["1"], object()])
@pytest.mark.parametrize("name", ["alert", "nowhere"])
def test_no_unit_makes_a_call_raise(
    unit: Any, name: str, make_client: MakeClient, live: Ruleset
) -> None:
    client = make_client(bootstrap=live.document())
    for choice in (client.assign(name, unit=unit), client.peek(name, unit=unit)):
        assert (choice.arm, choice.reason) == ("champion", Reason.INVALID_UNIT)


@pytest.mark.parametrize("name", [None, 7, ["alert"], {}, b"alert"])
def test_no_slot_makes_a_call_raise(name: Any, make_client: MakeClient, live: Ruleset) -> None:
    client = make_client(bootstrap=live.document())
    assert client.assign(name, unit="1").arm == "champion"
    assert client.peek(name, unit="1").arm == "champion"
    assert [choice.arm for choice in client.assign_many(name, ["1", "2"])] == ["champion"] * 2


class Hostile(dict[str, Any]):
    def get(self, *_: Any) -> Any:
        raise RuntimeError("attributes of the devil")


def test_hostile_arguments_give_champion_and_are_counted(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    tree = {"attribute": "x", "op": "eq", "value": 1}
    rules = ruleset(slot(rollout(enrolled_ppm=PPM, eligible=tree)))
    client = make_client(bootstrap=rules.document())
    for _ in range(50):
        choice = client.assign("alert", unit="1", attributes=Hostile(x=1))
        assert (choice.arm, choice.reason, choice.model) == ("champion", Reason.ERROR, CHAMPION)
    assert client.counts()["errors"] == 50
    assert sum("devil" in line for line in caplog.messages) == 1
    assert client.assign_many("alert", 5) == []  # type: ignore[arg-type]
    client.expose(None)  # type: ignore[arg-type]
    assert client.record(None, unit="1", ref="2") is None  # type: ignore[arg-type]
    assert client.champion([]) is None  # type: ignore[arg-type]
    assert client.explain("alert", None)["reason"] == "INVALID_UNIT"  # type: ignore[arg-type]


def test_hundreds_of_strange_calls_never_raise(service: Service, make_client: MakeClient) -> None:
    client = make_client(service)
    strange: list[Any] = [
        None,
        0,
        -1,
        1.5,
        "",
        "\x00",
        "\ud800",
        b"x",
        [],
        {},
        object(),
        "x" * 9999,
    ]
    for one in strange:
        for two in strange:
            client.assign(one, unit=two, attributes=one)
            client.peek(one, unit=two, default=one)
            client.track(one, unit=two, value=one, slot=two)
            client.record(client.peek(one, two), unit=one, ref=two, score=two)
    assert client.assign("alert", unit="1").arm in {"champion", "challenger"}
