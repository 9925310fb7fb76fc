import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

from controller.events.contracts import Exposure, Outcome, TimeRules, validate
from controller.events.encoding import canonical, digest, document, kind
from controller.events.times import format_time, format_unix, parse_time

NOW = datetime(2026, 6, 1, 12, 0, 0, 250_000, tzinfo=UTC)
OUTCOME = Outcome(event_id="e", occurred_at=NOW, name="cost", unit="é", value=5.0)


def test_the_canonical_form_is_read_back_as_the_same_event() -> None:
    exposure = Exposure(
        event_id="e", occurred_at=NOW, slot="s", unit="u", rollout=None, allocation=None,
        arm="champion", ruleset=3, reason="NO_ROLLOUT", attributes={"b": 1, "a": None},
    )  # fmt: skip
    for event in (OUTCOME, exposure):
        again = validate(json.loads(canonical(event)), 0, TimeRules(received_at=NOW))
        assert again == event
        assert document(event)["type"] == kind(event)


def test_equal_events_have_one_digest_however_they_were_written() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=-5)))
    assert digest(replace(OUTCOME, occurred_at=elsewhere)) == digest(OUTCOME)
    times = TimeRules(received_at=NOW)
    written = {"name": "cost", "value": 5, "unit": "é", "event_id": "e", "type": "outcome",
               "occurred_at": "2026-06-01T13:00:00.25+01:00"}  # fmt: skip
    again = validate(written, 0, times)
    assert isinstance(again, Outcome)
    assert digest(again) == digest(OUTCOME)
    assert len(digest(OUTCOME)) == 16


def test_any_difference_changes_the_digest() -> None:
    others = [
        replace(OUTCOME, value=5.000001),
        replace(OUTCOME, value=None),
        replace(OUTCOME, unit="e\u0301"),
        replace(OUTCOME, occurred_at=NOW + timedelta(microseconds=1)),
        replace(OUTCOME, attributes={}),
        replace(OUTCOME, slot="s"),
    ]
    assert len({digest(OUTCOME), *map(digest, others)}) == len(others) + 1


def test_times_sort_as_text() -> None:
    texts = [format_time(NOW + timedelta(microseconds=step)) for step in (0, 1, 10, 10**6, 10**9)]
    assert texts == sorted(texts)
    assert texts[0] == "2026-06-01T12:00:00.250000Z"
    assert parse_time(texts[0]) == NOW
    assert format_unix(NOW.timestamp()) == texts[0]
