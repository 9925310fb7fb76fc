import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from controller.events.contracts import (
    Code,
    Exposure,
    Outcome,
    Prediction,
    Rejection,
    TimeRules,
    validate,
)

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
TIMES = TimeRules(received_at=NOW)
BASE: dict[str, dict[str, Any]] = {
    "exposure": {
        "type": "exposure",
        "event_id": "e-1",
        "occurred_at": "2026-06-01T11:59:59.5Z",
        "slot": "alert",
        "unit": "4711",
        "rollout": "r-1",
        "allocation": 1,
        "arm": "challenger",
        "ruleset": 7,
        "reason": "SPLIT",
    },
    "outcome": {
        "type": "outcome",
        "event_id": "e-2",
        "occurred_at": "2026-06-01T13:59:59+02:00",
        "unit": "4711",
        "name": "cost",
        "value": 5,
    },
    "prediction": {
        "type": "prediction",
        "event_id": "e-3",
        "occurred_at": "2026-06-01T11:59:59Z",
        "slot": "alert",
        "unit": "4711",
        "ref": "application-1",
        "arm": "champion",
        "model": "late-flight@3",
    },
}


def event(kind: str, **changes: Any) -> dict[str, Any]:
    merged = {**BASE[kind], **changes}
    return {name: value for name, value in merged.items() if value is not ...}


def code_of(document: object) -> Code:
    result = validate(document, 3, TIMES)
    assert isinstance(result, Rejection), result
    assert result.index == 3
    assert result.detail
    return result.code


def test_each_kind_is_read() -> None:
    exposure = validate(event("exposure"), 0, TIMES)
    assert isinstance(exposure, Exposure)
    assert exposure.occurred_at == NOW - timedelta(seconds=0.5)
    outcome = validate(event("outcome", attributes={"origin": "EWR", "n": 1, "b": True}), 0, TIMES)
    assert isinstance(outcome, Outcome)
    assert (outcome.value, type(outcome.value)) == (5.0, float)
    assert outcome.occurred_at == NOW - timedelta(seconds=1)
    assert isinstance(validate(event("prediction", score=0.3), 0, TIMES), Prediction)


def test_an_exposure_at_rest_has_no_rollout() -> None:
    resting = validate(event("exposure", rollout=None, allocation=None), 0, TIMES)
    assert isinstance(resting, Exposure)
    assert (resting.rollout, resting.allocation) == (None, None)
    left_out = validate(event("exposure", rollout=..., allocation=...), 0, TIMES)
    assert left_out == resting


def test_an_outcome_without_value_or_with_a_ref() -> None:
    bare = validate(event("outcome", value=...), 0, TIMES)
    assert isinstance(bare, Outcome)
    assert bare.value is None
    by_ref = validate(event("outcome", unit=..., ref="a-1", slot="alert"), 0, TIMES)
    assert isinstance(by_ref, Outcome)
    assert (by_ref.unit, by_ref.ref) == (None, "a-1")


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (None, Code.NOT_AN_OBJECT),
        ([], Code.NOT_AN_OBJECT),
        ("exposure", Code.NOT_AN_OBJECT),
        ({}, Code.MISSING),
        (event("outcome", type="conversion"), Code.UNKNOWN_TYPE),
        (event("outcome", type=None), Code.UNKNOWN_TYPE),
        (event("outcome", type=["outcome"]), Code.UNKNOWN_TYPE),
        (event("outcome", extra=1), Code.UNKNOWN_FIELD),
        (event("outcome", arm="champion"), Code.UNKNOWN_FIELD),
        (event("outcome", event_id=...), Code.MISSING),
        (event("outcome", event_id=7), Code.WRONG_TYPE),
        (event("outcome", event_id=""), Code.EMPTY),
        (event("outcome", event_id="x" * 257), Code.TOO_LONG),
        (event("outcome", event_id="é" * 129), Code.TOO_LONG),
        (event("outcome", name=...), Code.MISSING),
        (event("outcome", unit=""), Code.EMPTY_UNIT),
        (event("exposure", unit=""), Code.EMPTY_UNIT),
        (event("exposure", unit=...), Code.MISSING),
        (event("outcome", unit=4711), Code.WRONG_TYPE),
        (event("outcome", unit=True), Code.WRONG_TYPE),
        (event("outcome", unit="\ud800"), Code.BAD_UNICODE),
        (event("outcome", unit="a\x1fb"), Code.CONTROL_CHARACTER),
        (event("outcome", unit="a\x00"), Code.CONTROL_CHARACTER),
        (event("outcome", unit="é\x85"), Code.CONTROL_CHARACTER),
        (event("outcome", unit=...), Code.MISSING),
        (event("outcome", ref="r", slot="s"), Code.MISSING),
        (event("outcome", unit=..., ref="r"), Code.MISSING),
        (event("outcome", value="5"), Code.WRONG_TYPE),
        (event("outcome", value=True), Code.WRONG_TYPE),
        (event("outcome", value=float("nan")), Code.NON_FINITE),
        (event("outcome", value=float("inf")), Code.NON_FINITE),
        (event("outcome", value=float("-inf")), Code.NON_FINITE),
        (event("outcome", value=1e16), Code.OUT_OF_RANGE),
        (event("outcome", value=-(10**400)), Code.OUT_OF_RANGE),
        (event("outcome", occurred_at=...), Code.MISSING),
        (event("outcome", occurred_at=1_780_000_000), Code.WRONG_TYPE),
        (event("outcome", occurred_at="2026-06-01"), Code.BAD_TIME),
        (event("outcome", occurred_at="2026-06-01T12:00:00"), Code.BAD_TIME),
        (event("outcome", occurred_at="2026-13-01T12:00:00Z"), Code.BAD_TIME),
        (event("outcome", occurred_at="20260601T120000.000Z"), Code.BAD_TIME),
        (event("outcome", occurred_at="yesterday at twelve o'clock"), Code.BAD_TIME),
        (event("outcome", occurred_at="2024-01-01T00:00:00Z"), Code.TOO_LATE),
        (event("outcome", occurred_at="2026-06-02T12:00:01Z"), Code.IN_FUTURE),
        (event("exposure", allocation=...), Code.MISSING),
        (event("exposure", rollout=...), Code.MISSING),
        (event("exposure", allocation="1"), Code.WRONG_TYPE),
        (event("exposure", allocation=True), Code.WRONG_TYPE),
        (event("exposure", allocation=1.0), Code.WRONG_TYPE),
        (event("exposure", ruleset=-1), Code.OUT_OF_RANGE),
        (event("exposure", ruleset=2**53 + 1), Code.OUT_OF_RANGE),
        (event("exposure", arm=...), Code.MISSING),
        (event("prediction", ref=...), Code.MISSING),
        (event("prediction", model=...), Code.MISSING),
        (event("prediction", score="high"), Code.WRONG_TYPE),
        (event("outcome", attributes=[]), Code.WRONG_TYPE),
        (event("outcome", attributes={"x": [1]}), Code.WRONG_TYPE),
        (event("outcome", attributes={"x": {}}), Code.WRONG_TYPE),
        (event("outcome", attributes={"": 1}), Code.EMPTY),
        (event("outcome", attributes={"x": float("nan")}), Code.NON_FINITE),
        (event("outcome", attributes={"x": "\udfff"}), Code.BAD_UNICODE),
        (event("outcome", attributes={"x": "y" * 5000}), Code.TOO_LONG),
        (event("outcome", attributes={str(n): n for n in range(51)}), Code.TOO_LONG),
    ],
)
def test_every_rule_has_its_code(document: object, code: Code) -> None:
    assert code_of(document) is code


def test_json_text_gives_the_same_verdict_as_values() -> None:
    text = json.dumps(event("outcome", unit="\ud800"))
    assert "\\ud800" in text
    assert code_of(json.loads(text)) is Code.BAD_UNICODE
    assert code_of(json.loads(text.replace("\\ud800", "\\u0000"))) is Code.CONTROL_CHARACTER
