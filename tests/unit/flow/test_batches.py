"""Reading batches: both readers accept the same events, and what is wrong is named."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import InvalidInput
from controller.events.contracts import Rejection, TimeRules, validate
from controller.flow.batches import Batch, event_digest, read_batch, wire

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
OUTCOME = {
    "type": "outcome",
    "event_id": "o1",
    "occurred_at": "2026-01-31T11:00:00Z",
    "unit": "u1",
    "name": "cost",
    "value": 2.5,
}
EXPOSURE = {
    "type": "exposure",
    "event_id": "e1",
    "occurred_at": "2026-01-31T11:00:00.5+01:00",
    "slot": "s",
    "unit": "u1",
    "rollout": "r",
    "allocation": 1,
    "arm": "champion",
    "ruleset": 7,
    "reason": "SPLIT",
}
PREDICTION = {
    "type": "prediction",
    "event_id": "p1",
    "occurred_at": "2026-01-31T11:00:00Z",
    "slot": "s",
    "unit": "u1",
    "ref": "app-1",
    "arm": "champion",
    "model": "net 1",
    "score": 0.5,
}


def body(*events: object, **more: Any) -> bytes:
    return json.dumps({"events": list(events), **more}).encode()


def read(*events: object, **more: Any) -> Batch:
    return read_batch(body(*events, **more), NOW)


def slowly(*events: object) -> Batch:
    """The same through the item-by-item reader: an escape sends the batch there."""
    text = json.dumps({"events": list(events)}).replace('"type"', '"typ\\u0065"')
    return read_batch(text.encode(), NOW)


STRANGE = st.sampled_from(
    [
        *(None, True, False, 0, 1, -1, 2.5, 1e15, 1.1e15, 2**53, 2**53 + 1, 10**30),
        *("", "x", "u" * 256, "u" * 257, "é", "e\u0301", "\u200d", "\x7f", "\x9f", "a\nb"),
        *("2026-01-31T11:00:00Z", "2026-01-31", "2026-01-31T11:00:00", "2030-01-01T00:00:00Z"),
        *("2001-01-01T00:00:00Z", "exposure", "outcome", [], {}, ["x"], {"a": "b"}),
        *({"a": 1}, {"a": 2e15}, {"a": [1]}, {"": "x"}, {"k" * 300: 1}, {"a": "v" * 5000}),
        {f"k{number}": number for number in range(51)},
    ]
)
FIELDS = sorted({*OUTCOME, *EXPOSURE, *PREDICTION, "attributes", "corrects", "unit_type", "extra"})
CHANGES = st.dictionaries(st.sampled_from(FIELDS), STRANGE, max_size=3)


@given(
    st.sampled_from([OUTCOME, EXPOSURE, PREDICTION]),
    CHANGES,
    st.sets(st.sampled_from(FIELDS), max_size=2),
)
def test_the_quick_reader_and_the_contract_agree(
    event: dict[str, Any], changes: dict[str, Any], removed: set[str]
) -> None:
    sent = {key: value for key, value in (event | changes).items() if key not in removed}
    expected = validate(json.loads(json.dumps(sent)), 0, TimeRules(received_at=NOW))
    for batch in (read(sent), slowly(sent)):
        if isinstance(expected, Rejection):
            assert [item.code for item in batch.refused] == [expected.code.value]
            assert not batch.events
        else:
            ((index, event_read),) = batch.events
            assert index == 0
            assert event_digest(event_read) == event_digest(wire(expected))


def test_good_events_are_kept_beside_bad_ones() -> None:
    bad = OUTCOME | {"event_id": "o2", "value": "high"}
    batch = read(OUTCOME, bad, EXPOSURE, 7, PREDICTION)
    assert [index for index, _ in batch.events] == [0, 2, 4]
    assert [(item.index, item.code) for item in batch.refused] == [
        (1, "wrong_type"),
        (3, "not_an_object"),
    ]


def test_repeats_inside_a_batch() -> None:
    other = OUTCOME | {"value": 3}
    batch = read(OUTCOME, EXPOSURE, dict(reversed(OUTCOME.items())), other)
    assert [index for index, _ in batch.events] == [0, 1]
    assert batch.duplicates == 1
    assert [(item.index, item.code) for item in batch.refused] == [(3, "id_reuse")]


def test_the_order_of_keys_and_the_way_to_write_a_number_make_no_other_event() -> None:
    ((_, one),) = read(OUTCOME | {"value": 2}).events
    ((_, two),) = read(dict(reversed((OUTCOME | {"value": 2.0}).items()))).events
    assert event_digest(one) == event_digest(two)
    ((_, three),) = read(OUTCOME | {"value": 2.0000000001}).events
    assert event_digest(one) != event_digest(three)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"{}",
        b'{"events": {}}',
        b'{"events": []}',
        b'{"events": [1], "more": 1}',
        b'{"events": [1], "schema": 2}',
        b'{"events": [1], "batch_id": ""}',
        b'{"events": [1], "batch_id": "a\\nb"}',
        b'{"events": [1], "batch_id": 7}',
        b'{"events": [NaN]}',
        b'{"events": [1e999]}',
        b'\xef\xbb\xbf{"events": [1]}',
        b'{"events": ["\xff"]}',
        b'{"events": ["\\ud800"]}',
        b"[" * 100_000,
        b'{"events": ' + b"[" * 100_000,
        body(*[7] * 501),
        body(OUTCOME, batch_id="b" * 129),
    ],
)
def test_a_body_that_is_no_batch_is_refused_in_a_sentence(raw: bytes) -> None:
    with pytest.raises(InvalidInput) as refusal:
        read_batch(raw, NOW)
    assert refusal.value.message


def test_five_hundred_events_are_a_batch() -> None:
    batch = read(*(OUTCOME | {"event_id": f"o{number}"} for number in range(500)), batch_id="b")
    assert (len(batch.events), batch.batch_id) == (500, "b")


@pytest.mark.parametrize(
    ("shift", "code"),
    [(timedelta(hours=25), "in_future"), (timedelta(days=-401), "too_late")],
)
def test_times_are_believed_within_reason(shift: timedelta, code: str) -> None:
    moment = (NOW + shift).isoformat()
    batch = read(OUTCOME | {"occurred_at": moment})
    assert [item.code for item in batch.refused] == [code]
