"""Schemas and pages say what the readers of definitions read, no more and no less."""

from __future__ import annotations

import ast
import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator

from controller.errors import InvalidInput
from controller.experiments import schema as drawn
from controller.experiments.metric_rules import check_metric
from controller.experiments.metrics import Metric
from controller.experiments.policies import Policy
from controller.experiments.shipped import SHIPPED_POLICIES
from controller.experiments.slots import Slot

ROOM = Path("controller/experiments")
PAGE = Path("docs/reference/metrics-and-slots.md").read_text()
POLICY_PAGE = Path("docs/reference/policy.md").read_text()
READERS = {
    "metric": ["metrics.py"],
    "slot": ["slots.py", "models.py"],
    "policy": ["policies.py", "policy_document.py", "spending_choice.py"],
}
ASKING = {"raw", "has", "text", "optional_text", "key", "flag", "number", "optional_number"} | {
    "integer", "share", "duration", "choice", "items", "child",
}  # fmt: skip
SCHEMAS = {
    "metric": drawn.metric_schema(),
    "slot": drawn.slot_schema(),
    "policy": drawn.policy_schema(),
}
SAMPLES = {
    "metric": [
        sample
        for kind in ("binary", "mean", "count", "ratio", "quantile")
        for closes in ("window", "first_outcome")
        for sample in drawn.metric_samples([kind], closes)
    ],
    "slot": list(drawn.SLOT_SAMPLES),
    "policy": list(drawn.POLICY_SAMPLES),
}
WRONG: tuple[Any, ...] = ([[[]]], {"No Such Key": {}}, -1e300)
EACH = [(kind, sample) for kind, samples in SAMPLES.items() for sample in samples]


def refusal(kind: str, document: Any) -> str:
    """What the reader has against a document; empty where it takes it."""
    try:
        if kind == "metric":
            check_metric(Metric.from_document(document, key=drawn.ANY))
        elif kind == "slot":
            Slot.from_document(document, key=drawn.ANY)
        else:
            Policy.from_document(document, name=drawn.ANY)
    except InvalidInput as error:
        return error.message
    return ""


def complaint(kind: str, document: Any) -> str:
    """What the schema has against it."""
    return "; ".join(
        one.message for one in Draft202012Validator(SCHEMAS[kind]).iter_errors(document)
    )


def asked(file: str) -> set[str]:
    """Every field that a module of readers asks for by name."""
    found = set()
    for node in ast.walk(ast.parse((ROOM / file).read_text())):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ASKING
            and node.args
            and isinstance(node.args[0], ast.Constant)
            and isinstance(node.args[0].value, str)
        ):
            found.add(node.args[0].value)
    return found


@pytest.mark.parametrize("kind", SCHEMAS)
def test_every_field_that_is_read_is_in_the_schema_and_on_its_page(kind: str) -> None:
    read = set().union(*(asked(file) for file in READERS[kind]))
    assert len(read) > 10
    places = {re.split(r"[.\[]", place)[-1] for place, _ in drawn.fields_of(SCHEMAS[kind])}
    page = POLICY_PAGE if kind == "policy" else PAGE
    assert read - places == ({"expected_delay_seconds"} & read if kind != "metric" else set())
    unnamed = {name for name in read if not re.search(rf"[`.]{name}\b", page)}
    assert unnamed == set()


@pytest.mark.parametrize("kind", ["metric", "slot"])
def test_the_page_has_a_row_for_every_place_with_its_default(kind: str) -> None:
    heading = {"metric": "## A metric", "slot": "## A slot"}[kind]
    part = PAGE.partition(heading)[2].partition("\n## ")[0]
    rows: dict[str, str] = {}
    for line in re.findall(r"^\| `.*", part, re.MULTILINE):
        keys, _, default, _ = (cell.strip() for cell in line[1:-1].split("|"))
        rows |= dict.fromkeys(re.findall(r"`([^`]+)`", keys), default)
    places = dict(drawn.fields_of(SCHEMAS[kind]))
    assert set(rows) == set(places)
    for place, said in places.items():
        usual = said.get("default")
        if usual not in (None, "") and place != "zero_means":
            plain = json.dumps(usual).strip('"').removesuffix(".0")
            assert plain in rows[place], f"{place}: {rows[place]}"
        item = said.get("items", {})
        needed = [f"{place}.{name}" for name in said.get("required", ())]
        needed += [f"{place}[].{name}" for name in item.get("required", ())]
        for name in needed:
            assert "required" in rows[name] or place == "fallback", name


@pytest.mark.parametrize(("kind", "sample"), EACH)
def test_the_samples_are_good_for_both(kind: str, sample: Any) -> None:
    assert refusal(kind, sample) == ""
    assert complaint(kind, sample) == ""


def test_what_is_stored_and_shown_fits_its_schema() -> None:
    for sample in SAMPLES["metric"]:
        assert complaint("metric", Metric.from_document(sample).document()) == ""
    for sample in SAMPLES["slot"]:
        assert complaint("slot", Slot.from_document(sample, key=drawn.ANY).document()) == ""
    for policy in SHIPPED_POLICIES:
        assert complaint("policy", policy.document()) == ""


def places_in(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in a document, but for what may be anything."""
    members = document.items() if isinstance(document, dict) else enumerate(document)
    for name, value in members:
        if name in ("payload", "eligible", "spending_table"):
            continue
        yield (*path, name)
        if isinstance(value, dict | list):
            yield from places_in(value, (*path, name))


def with_value(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = json.loads(json.dumps(document))
    holder = changed
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = value
    return changed


@pytest.mark.parametrize(("kind", "sample"), EACH)
def test_both_refuse_a_value_of_the_wrong_kind_wherever_it_stands(kind: str, sample: Any) -> None:
    for path in places_in(sample):
        for wrong in WRONG:
            if path == ("winsorize", "value") and wrong == -1e300:
                continue  # the rule came after stored documents, so it stands outside the reader
            document = with_value(sample, path, wrong)
            assert refusal(kind, document), (path, wrong)
            assert complaint(kind, document), (path, wrong)


@pytest.mark.parametrize(("kind", "sample"), EACH)
def test_both_refuse_an_unknown_key_wherever_it_stands(kind: str, sample: Any) -> None:
    for path in ((), *places_in(sample)):
        holder = sample
        for step in path:
            holder = holder[step]
        if isinstance(holder, dict) and drawn.ANY not in holder:
            document = with_value(sample, (*path, "unknown_key"), 1)
            assert refusal(kind, document), path
            assert complaint(kind, document), path


@pytest.mark.parametrize(("kind", "sample"), EACH)
def test_a_field_that_the_reader_needs_is_required(kind: str, sample: Any) -> None:
    for path in places_in(sample):
        document = json.loads(json.dumps(sample))
        holder = document
        for step in path[:-1]:
            holder = holder[step]
        del holder[path[-1]]
        if not refusal(kind, document):
            assert complaint(kind, document) == "", path
        elif "is required" in refusal(kind, document):
            assert complaint(kind, document), path


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-10, 10**6) | st.floats(-1, 2, width=16)
    | st.sampled_from(["", "a", "10%", "1h30m", "xxh3", "window", "zero", "L4", "mean"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(
        ["name", "version", "metric", "margin", "value", "mean", "sd", "enrolled"]
    ), inner, max_size=3),
    max_leaves=4,
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_what_a_reader_takes_its_schema_takes(data: st.DataObject) -> None:
    kind, sample = data.draw(st.sampled_from(EACH))
    path = data.draw(st.sampled_from(list(places_in(sample))))
    document = with_value(sample, path, data.draw(ANYTHING))
    if not refusal(kind, document):
        assert complaint(kind, document) == "", (kind, path, document)


def test_a_schema_is_the_callers_own() -> None:
    before = copy.deepcopy(SCHEMAS["slot"])
    drawn.slot_schema()["properties"].clear()
    assert drawn.slot_schema() == before
