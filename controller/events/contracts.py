"""What happened, as versioned frozen values: exposure, outcome, prediction.

`validate` turns one decoded JSON object into an event or into a `Rejection` that names the rule it
broke. A bad event never stops the good ones beside it and nothing is repaired or guessed: ids stay
as they were sent, a number stays finite, a time needs its offset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from controller.events.times import parse_time

SCHEMA: Final = 1
MAX_ID_BYTES: Final = 256
MAX_ATTRIBUTES: Final = 50
MAX_ATTRIBUTES_BYTES: Final = 4096
MAX_VALUE: Final = 1e15
"""Largest absolute outcome value or score: far above money, far below where squares overflow."""


class Code(StrEnum):
    """Why an event was refused. A closed list."""

    NOT_AN_OBJECT = "not_an_object"
    UNKNOWN_TYPE = "unknown_type"
    UNKNOWN_FIELD = "unknown_field"
    MISSING = "missing"
    WRONG_TYPE = "wrong_type"
    EMPTY = "empty"
    EMPTY_UNIT = "empty_unit"
    BAD_UNICODE = "bad_unicode"
    CONTROL_CHARACTER = "control_character"
    TOO_LONG = "too_long"
    NON_FINITE = "non_finite"
    OUT_OF_RANGE = "out_of_range"
    BAD_TIME = "bad_time"
    TOO_LATE = "too_late"
    IN_FUTURE = "in_future"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """A unit met an arm. `rollout` and `allocation` are None for the share a slot at rest observes.

    `ruleset` is the version that decided, `reason` one of the reasons of assignment.
    """

    event_id: str
    occurred_at: datetime
    slot: str
    unit: str
    rollout: str | None
    allocation: int | None
    arm: str
    ruleset: int
    reason: str
    attributes: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Something was earned, lost or counted for a unit, or for the prediction named by `ref`.

    `value` absent counts as 1 for a binary metric; `corrects` is the event id it replaces.
    """

    event_id: str
    occurred_at: datetime
    name: str
    unit: str | None = None
    ref: str | None = None
    value: float | None = None
    slot: str | None = None
    unit_type: str | None = None
    corrects: str | None = None
    attributes: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One served prediction. `ref` is the application's own id, unique in its slot."""

    event_id: str
    occurred_at: datetime
    slot: str
    unit: str
    ref: str
    arm: str
    model: str
    rollout: str | None = None
    allocation: int | None = None
    score: float | None = None
    attributes: Mapping[str, Any] | None = None


Event = Exposure | Outcome | Prediction


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """One refused event: its place in the batch, the rule, and a sentence."""

    index: int
    code: Code
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeRules:
    """Which event times are believed at `received_at`.

    An event older than `max_age` is too late to be matched with a ledger whose window has closed;
    one further in the future than `max_skew` comes from a broken clock.
    """

    received_at: datetime
    max_age: timedelta = timedelta(days=400)
    max_skew: timedelta = timedelta(hours=24)


def validate(document: object, index: int, times: TimeRules) -> Event | Rejection:
    """The event of one decoded JSON object, or why it is refused.

    Parameters
    ----------
    document : object
        One item of a batch's ``events``, as `json.loads` gives it.
    index : int
        Its place in the batch, from 0; copied into the rejection.
    """
    try:
        return _read(document, times)
    except _Refused as refusal:
        return Rejection(index=index, code=refusal.code, detail=refusal.detail)


class _Refused(Exception):
    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


_COMMON: Final = frozenset({"type", "event_id", "occurred_at", "attributes"})
_FIELDS: Final = {
    "exposure": _COMMON | {"slot", "unit", "rollout", "allocation", "arm", "ruleset", "reason"},
    "outcome": _COMMON | {"unit", "ref", "name", "value", "slot", "unit_type", "corrects"},
    "prediction": _COMMON
    | {"slot", "unit", "ref", "arm", "model", "rollout", "allocation", "score"},
}


def _read(document: object, times: TimeRules) -> Event:
    if not isinstance(document, dict):
        raise _Refused(Code.NOT_AN_OBJECT, "An event is a JSON object.")
    kind = document.get("type")
    fields = _FIELDS.get(kind) if isinstance(kind, str) else None
    if fields is None:
        raise _unknown_type(document)
    if not fields.issuperset(document):
        extra = next(iter(document.keys() - fields))
        raise _Refused(Code.UNKNOWN_FIELD, f"A {kind} has no field {extra!r}.")
    if kind == "outcome":
        return _outcome(document, times)
    return _exposure(document, times) if kind == "exposure" else _prediction(document, times)


def _unknown_type(document: Mapping[str, Any]) -> _Refused:
    if "type" not in document:
        return _Refused(Code.MISSING, "type is missing.")
    return _Refused(Code.UNKNOWN_TYPE, "type is exposure, outcome or prediction.")


def _exposure(document: Mapping[str, Any], times: TimeRules) -> Exposure:
    rollout, allocation = _allocation(document)
    return Exposure(
        event_id=_text(document, "event_id"),
        occurred_at=_time(document, times),
        slot=_text(document, "slot"),
        unit=_unit(document),
        rollout=rollout,
        allocation=allocation,
        arm=_text(document, "arm"),
        ruleset=_integer(document, "ruleset"),
        reason=_text(document, "reason"),
        attributes=_attributes(document),
    )


def _outcome(document: Mapping[str, Any], times: TimeRules) -> Outcome:
    unit = None if document.get("unit") is None else _unit(document)
    ref = _optional_text(document, "ref")
    if (unit is None) == (ref is None):
        raise _Refused(Code.MISSING, "An outcome names unit or ref, one of the two.")
    slot = _optional_text(document, "slot")
    if ref is not None and slot is None:
        raise _Refused(Code.MISSING, "An outcome that names ref names its slot.")
    return Outcome(
        event_id=_text(document, "event_id"),
        occurred_at=_time(document, times),
        name=_text(document, "name"),
        unit=unit,
        ref=ref,
        value=_number(document, "value"),
        slot=slot,
        unit_type=_optional_text(document, "unit_type"),
        corrects=_optional_text(document, "corrects"),
        attributes=_attributes(document),
    )


def _prediction(document: Mapping[str, Any], times: TimeRules) -> Prediction:
    rollout, allocation = _allocation(document)
    return Prediction(
        event_id=_text(document, "event_id"),
        occurred_at=_time(document, times),
        slot=_text(document, "slot"),
        unit=_unit(document),
        ref=_text(document, "ref"),
        arm=_text(document, "arm"),
        model=_text(document, "model"),
        rollout=rollout,
        allocation=allocation,
        score=_number(document, "score"),
        attributes=_attributes(document),
    )


def _allocation(document: Mapping[str, Any]) -> tuple[str | None, int | None]:
    rollout = _optional_text(document, "rollout")
    if rollout is None:
        if document.get("allocation") is not None:
            raise _Refused(Code.MISSING, "rollout is missing beside an allocation.")
        return None, None
    return rollout, _integer(document, "allocation")


def _unit(document: Mapping[str, Any]) -> str:
    if document.get("unit") == "":
        raise _Refused(Code.EMPTY_UNIT, "unit must not be empty.")
    return _text(document, "unit")


def _optional_text(document: Mapping[str, Any], name: str) -> str | None:
    return None if document.get(name) is None else _text(document, name)


def _text(document: Mapping[str, Any], name: str) -> str:
    """A string of 1 to 256 bytes of UTF-8 without control characters or lone surrogates."""
    value = document.get(name)
    if isinstance(value, str) and 0 < len(value) <= MAX_ID_BYTES:
        if value.isascii() and value.isprintable():
            return value
        return _wide_text(value, name)
    if value is None:
        raise _Refused(Code.MISSING, f"{name} is missing.")
    if not isinstance(value, str):
        raise _Refused(Code.WRONG_TYPE, f"{name} must be a string.")
    if not value:
        raise _Refused(Code.EMPTY, f"{name} must not be empty.")
    raise _Refused(Code.TOO_LONG, f"{name} is longer than {MAX_ID_BYTES} bytes.")


def _wide_text(value: str, name: str) -> str:
    try:
        encoded = value.encode()
    except UnicodeEncodeError as error:
        raise _Refused(Code.BAD_UNICODE, f"{name} holds a lone surrogate.") from error
    if len(encoded) > MAX_ID_BYTES:
        raise _Refused(Code.TOO_LONG, f"{name} is longer than {MAX_ID_BYTES} bytes.")
    if any(character < " " or "\x7f" <= character <= "\x9f" for character in value):
        raise _Refused(Code.CONTROL_CHARACTER, f"{name} holds a control character.")
    return value


def _integer(document: Mapping[str, Any], name: str) -> int:
    value = document.get(name)
    if value is None:
        raise _Refused(Code.MISSING, f"{name} is missing.")
    if type(value) is not int:
        raise _Refused(Code.WRONG_TYPE, f"{name} must be an integer.")
    if not 0 <= value <= 2**53:
        raise _Refused(Code.OUT_OF_RANGE, f"{name} must be from 0 to 2**53.")
    return value


def _number(document: Mapping[str, Any], name: str) -> float | None:
    value = document.get(name)
    if value is None:
        return None
    if type(value) is not float and type(value) is not int:
        raise _Refused(Code.WRONG_TYPE, f"{name} must be a number.")
    if -MAX_VALUE <= value <= MAX_VALUE:
        return float(value)
    if value in {float("inf"), float("-inf")} or value != value:  # noqa: PLR0124 - NaN differs from itself
        raise _Refused(Code.NON_FINITE, f"{name} must be finite.")
    raise _Refused(Code.OUT_OF_RANGE, f"{name} must lie within {MAX_VALUE:g}.")


def _time(document: Mapping[str, Any], times: TimeRules) -> datetime:
    """An RFC 3339 instant with its offset, not too old and not from the future."""
    text = document.get("occurred_at")
    if text is None:
        raise _Refused(Code.MISSING, "occurred_at is missing.")
    if not isinstance(text, str):
        raise _Refused(Code.WRONG_TYPE, "occurred_at must be a string.")
    instant = parse_time(text)
    if instant is None:
        raise _Refused(Code.BAD_TIME, "occurred_at is RFC 3339 with an offset, like …T12:00:00Z.")
    if instant < times.received_at - times.max_age:
        raise _Refused(Code.TOO_LATE, f"occurred_at lies more than {times.max_age} back.")
    if instant > times.received_at + times.max_skew:
        raise _Refused(Code.IN_FUTURE, f"occurred_at lies more than {times.max_skew} ahead.")
    return instant


def _attributes(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """A flat object of strings, finite numbers, booleans and nulls."""
    attributes = document.get("attributes")
    if attributes is None:
        return None
    if not isinstance(attributes, dict):
        raise _Refused(Code.WRONG_TYPE, "attributes must be an object.")
    if len(attributes) > MAX_ATTRIBUTES:
        raise _Refused(Code.TOO_LONG, f"attributes has more than {MAX_ATTRIBUTES} entries.")
    size = 0
    for name, value in attributes.items():
        _text({"attribute name": name}, "attribute name")
        if isinstance(value, str):
            size += _attribute_bytes(name, value)
        elif value is not None and not isinstance(value, bool):
            _number({name: value}, name)
        size += len(name)
    if size > MAX_ATTRIBUTES_BYTES:
        raise _Refused(Code.TOO_LONG, f"attributes is larger than {MAX_ATTRIBUTES_BYTES} bytes.")
    return attributes


def _attribute_bytes(name: str, value: str) -> int:
    try:
        return len(value.encode())
    except UnicodeEncodeError as error:
        raise _Refused(Code.BAD_UNICODE, f"{name} holds a lone surrogate.") from error
