"""Every entry of a closed list has words, and a glyph beside its colour."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from controller import analysis, flow, rollout
from controller.analysis.report import MetricVerdict
from controller.flow.sentence import _ENDED
from controller.rollout.judgement import Result
from controller.rollout.machine import TRANSITIONS, Move
from controller.rollout.states import Pause, State, Verb
from controller.service.http.problems import every_error
from controller.service.ui import words
from controller.service.ui.actions import DONE, ROLES
from controller.stats.results import Reason

APPROVALS = {"open", "approved", "vetoed", "expired", "voided", "executed"}


def test_the_closed_lists_have_words() -> None:
    assert set(words.STATES) == {state.value for state in State}
    assert set(words.VERDICTS) == {verdict.value for verdict in MetricVerdict}
    assert set(words.RESULTS) == {result.value for result in Result}
    assert set(words.PAUSES) == {pause.value for pause in Pause}
    assert set(words.APPROVALS) == APPROVALS
    assert {move.value for move in Move} <= set(words.ACTIONS)
    assert set(ROLES) == set(Verb)
    assert {verb.value for verb in Verb} | {"approve", "reject"} == set(DONE)
    gated = {row.move.value for row in TRANSITIONS if row.gated}
    assert gated == set(words.TRANSITIONS)


def test_colour_is_never_the_only_signal() -> None:
    for badges in (words.STATES, words.VERDICTS, words.APPROVALS):
        told: dict[tuple[str, str], str] = {}
        for badge in badges.values():
            assert badge.word
            assert badge.glyph
            told.setdefault((badge.word, badge.glyph), badge.tone)
            assert told[badge.word, badge.glyph] == badge.tone


def reasons_in(room: object) -> set[str]:
    """Constants given as `reason=` anywhere in a room, and second parts of verdict pairs."""
    found: set[str] = set()
    for path in Path(str(room.__path__[0])).rglob("*.py"):  # type: ignore[attr-defined]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.keyword) or node.arg != "reason":
                continue
            if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
                found.add(node.value.value)
    return found - {""}


def test_every_reason_the_service_gives_has_words() -> None:
    given = reasons_in(flow) | reasons_in(rollout) | reasons_in(analysis)
    assert len(given) > 10
    assert not (given | {reason.value for reason in Reason} | set(_ENDED)) - set(words.REASONS)


def guards() -> set[str]:
    """Ids of the guards that `rollout/machine.py` and `rollout/gates.py` write as constants."""
    found: set[str] = set()
    for name in ("machine", "gates"):
        path = Path(str(rollout.__path__[0])) / f"{name}.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and getattr(node.func, "id", "")
                in (
                    "_holds",
                    "_at_least",
                )
                and isinstance(node.args[0], ast.Constant)
            ):
                found.add(str(node.args[0].value))
    return found


def test_every_guard_has_words() -> None:
    assert len(guards()) > 15
    assert not guards() - set(words.CLAUSES)


def test_clauses_of_a_metric_name_it() -> None:
    assert words.clause("harm.latency") == "latency does no harm beyond its limit"
    assert words.clause("oec.revenue") == "revenue is shown to be better"


def test_every_refusal_a_person_can_meet_has_advice() -> None:
    assert set(words.ADVICE) <= {error.code for error in every_error()}
    assert words.advice("something_new")


@pytest.mark.parametrize(
    ("unit", "plural"),
    [("visit", "visits"), ("country", "countries"), ("day", "days"), ("box", "boxes")],
)
def test_units_in_the_plural(unit: str, plural: str) -> None:
    assert words.many(unit) == plural


def test_an_observed_value_is_brief() -> None:
    assert words.observed_in("fresh.cost", 7200) == "2 h"
    assert words.observed_in("stage.min_units", 12000) == "12,000"
    assert words.observed(value=True) == "yes"
    assert words.observed(None) == "–"


def test_nothing_is_open_once_a_rollout_is_over() -> None:
    assert words.finding("inconclusive", decides=True, over=False).word == "Not settled yet"
    ended = [
        words.finding("inconclusive", decides=decides, over=True).word for decides in (True, False)
    ]
    assert ended == ["No difference shown", "No harm shown"]
    watch = words.finding("inconclusive", decides=True, over=True, watched=True)
    assert watch.word == "No alarm"
    assert words.finding("harm", decides=False, over=True, watched=True).word == "Harm"
