"""What is kept between looks saves work and changes no number."""

from __future__ import annotations

import json
from typing import Any

import pytest

from controller.analysis import trails
from controller.analysis.look import take_look
from controller.analysis.memory import PlannedMemory, Row, rows_name
from controller.analysis.report import LookInput
from controller.experiments.canonical import canonical_json
from controller.experiments.plans import challenger_names
from controller.experiments.policies import Futility, OecRules
from controller.stats import chain, recursion
from tests.unit.analysis.looking import ERRORS, counts
from tests.worlds import binary, plan, statistics

KEY = "conversion/challenger/superior"
LOOKS = (600, 900, 1000, 1700, 2100, 2600)
SEEN = [counts(n, 0.1, 0.11, errors=(0.05, 0.052)) for n in LOOKS]


def rules(futility: Futility) -> OecRules:
    return OecRules(futility=futility)


@pytest.mark.parametrize("futility", list(Futility))
@pytest.mark.parametrize("arms", [2, 3])
def test_a_process_that_has_just_started_concludes_the_same_to_the_byte(
    futility: Futility, arms: int
) -> None:
    names = ("champion", *challenger_names(arms - 1))
    weights = dict.fromkeys(names, 1.0 / arms)
    chosen = plan(guardrails=ERRORS, rules=rules(futility), weights=weights)
    memory: dict[str, Any] | None = None
    for number, units in enumerate(LOOKS, start=1):
        cells = {
            (key, 0, arm): binary(units, units // 10 + index * units // 90)
            for key in ("conversion", "errors")
            for index, arm in enumerate(names)
        }
        seen = statistics(cells, weights=(weights,))
        look = LookInput(plan=chosen, statistics=seen, number=number, previous=memory)
        warm = canonical_json(take_look(look).document())
        trails.forget()
        again = take_look(look)
        assert canonical_json(again.document()) == warm
        memory = json.loads(json.dumps(again.memory))


def test_a_counted_look_moves_each_density_one_link_on(monkeypatch: pytest.MonkeyPatch) -> None:
    links: list[int] = []

    def counted(*args: Any, **options: Any) -> recursion.SubDensity:
        links.append(1)
        return recursion.advance(*args, **options)

    monkeypatch.setattr(chain, "advance", counted)
    chosen = plan(rules=rules(Futility.NON_BINDING))
    memory: dict[str, Any] | None = None
    trails.forget()
    for number, seen in enumerate(SEEN, start=1):
        links.clear()
        look = LookInput(plan=chosen, statistics=seen, number=number, previous=memory)
        memory = json.loads(json.dumps(take_look(look).memory))
        assert len(links) == (3 if number > 1 else 0)  # efficacy, hope of "better", of "worse"


def test_what_is_kept_belongs_to_its_rows_and_its_plan() -> None:
    chosen = plan(rules=rules(Futility.NONE))
    memory: dict[str, Any] | None = None
    for number, seen in enumerate(SEEN[:3], start=1):
        look = LookInput(plan=chosen, statistics=seen, number=number, previous=memory)
        memory = dict(take_look(look).memory)
    assert memory is not None
    test = PlannedMemory.from_document(memory["planned"][KEY])
    other = plan(rules=OecRules(futility=Futility.NONE, alpha=0.01))
    kept = LookInput(plan=other, statistics=SEEN[3], number=4, previous=memory)
    warm = take_look(kept).document()
    trails.forget()
    assert take_look(kept).document() == warm
    assert (
        test.rows_sha256
        == PlannedMemory.from_document(
            {k: v for k, v in memory["planned"][KEY].items() if k != "rows_sha256"}
        ).rows_sha256
    )


def test_the_name_of_the_rows_tells_every_history_apart() -> None:
    row = Row(
        spending_time=0.5, variance_ratio=0.0, alpha_spent=(0.01,), critical_values=(2.5,)
    ).document()
    names = {
        rows_name("", row),
        rows_name("", [*row[:3], [2.6], None]),
        rows_name(rows_name("", row), row),
        rows_name("", json.loads(json.dumps([0.25, *row[1:]]))),
    }
    assert len(names) == 4
    assert rows_name("", json.loads(json.dumps(row))) == rows_name("", row)
