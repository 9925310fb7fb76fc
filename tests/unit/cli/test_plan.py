"""`controller plan`: what it asks the service, and the page it prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from controller.cli.main import build_parser
from controller.cli.plan import _question
from controller.cli.plan_page import page
from controller.errors import InvalidInput
from controller.flow.actors import Scope
from tests.web import METRIC, SLOT, serving


def asked(*arguments: str) -> dict[str, Any]:
    return _question(build_parser().parse_args(["plan", *arguments]))


def test_options_go_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text("slot: late\ntraffic: 10\nbaselines: {cost: {mean: 1, sd: 1}}\n")
    (tmp_path / "past.csv").write_text("late\n" + "".join(f"{n % 7}\n" for n in range(140)))
    body = asked(
        *(str(file), "--traffic", "10,20,30", "--history", str(tmp_path / "past.csv")),
        *("--column", "errors=late", "--challengers", "2"),
    )
    assert body["traffic"] == {"low": 10.0, "expected": 20.0, "high": 30.0}
    assert body["baselines"]["cost"] == {"mean": 1, "sd": 1}
    assert body["baselines"]["errors"]["mean"] == pytest.approx(3.0)
    assert (body["slot"], body["challengers"]) == ("late", 2)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--slot", "late", "--traffic", "many"),
        ("--slot", "late", "--traffic", "1,2"),
        ("--slot", "late", "--history", "past.csv"),
        ("--slot", "late", "--history", "past.csv", "--column", "cost"),
        ("--slot", "late", "--history", "past.csv", "--column", "=cost"),
        ("--slot", "late", "--column", "cost=late"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(arguments: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInput):
        asked(*arguments)


def test_a_date_in_the_file_is_text(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text("slot: late\nstart: 2026-12-01\n")
    assert asked(str(file))["start"] == "2026-12-01"


@pytest.mark.parametrize(
    "text",
    ["slot: !!binary aGk=\n", "a: &a [*a]\n", "[" * 5000, "slot: late\nbaselines: 5\n", "\x00"],
)
def test_a_file_that_json_could_not_say_is_refused(tmp_path: Path, text: str) -> None:
    file, past = tmp_path / "plan.yaml", tmp_path / "past.csv"
    file.write_text(text)
    past.write_text("late\n" + "".join(f"{n % 7}\n" for n in range(140)))
    with pytest.raises(InvalidInput):
        asked(str(file), "--slot", "late", "--history", str(past), "--column", "cost=late")


def test_a_ratio_whose_denominator_is_next_to_nothing_is_refused(tmp_path: Path) -> None:
    past = tmp_path / "past.csv"
    past.write_text("a,b\n" + "1,1e-200\n2,1e-200\n" * 100)
    with pytest.raises(InvalidInput, match="too close to 0"):
        asked("--slot", "late", "--history", str(past), "--column", "cost=a/b")


def test_the_page_says_when_and_what_would_help(tmp_path: Path) -> None:
    with serving(tmp_path) as web:
        admin = web.keys[Scope.ADMIN]
        web.call("PUT", "/v1/metrics/cost", admin, json=METRIC)
        web.call("PUT", "/v1/slots/late", admin, json=SLOT)
        body = {"slot": "late", "traffic": 2000, "start": "2026-12-01"}
        good = page(web.call("POST", "/v1/plans", admin, json=body).json)
        poor = page(web.call("POST", "/v1/plans", admin, json={**body, "traffic": 0}).json)
    assert "can decide within" in good
    assert "1 December 2026" in good
    assert "2 % of traffic enrolled, 1 % meets the challenger" in good
    (warned,) = [line for line in good.splitlines() if line.startswith("! ")]
    assert warned.startswith("! No guardrail has a harm alarm: ")
    assert "CANNOT be relied on to decide" in poor
    assert "never" in poor
    assert "! cost: " in poor
