"""What the demo says, and the report it leaves."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from controller.demo.progress import (
    LATER,
    Progress,
    Standing,
    closing,
    lost_events,
    standing,
    write_report,
)

WEATHER = {"name": "weather-boosting", "version": "2013.2"}


def _document(state: str, verdict: str, reason: str, *, units: int, look: int) -> dict[str, Any]:
    arms = {"champion": {"n": units // 2}, "challenger": {"n": units - units // 2}}
    return {
        "metadata": {"uid": "r-1"},
        "spec": {"challengers": [WEATHER], "oec": {"metric": "cost"}},
        "status": {
            "state": state,
            "verdict": {"value": verdict, "reason": reason, "look": look},
            "metrics": [
                {"key": "cost", "arms": arms},
                {"key": "other", "arms": {"champion": {"n": 99_999}}},
            ],
        },
    }


def test_a_standing_counts_complete_units_of_the_deciding_metric() -> None:
    found = standing("s", _document("Deciding", "KEEP_GOING", "keep_collecting", units=7, look=3))
    assert (found.units, found.looks, found.challenger) == (7, 3, "weather-boosting 2013.2")
    assert not found.ended


def test_a_bake_keeps_the_numbers_that_decided() -> None:
    decided = standing("s", _document("Deciding", "PROMOTE", "oec_shown", units=5000, look=40))
    moving = standing("s", _document("Promoting", "PROMOTE", "promoted", units=0, look=40), decided)
    baking = standing("s", _document("Baking", "PROMOTE", "promoted", units=12, look=44), moving)
    assert (baking.state, baking.verdict, baking.units, baking.looks) == (
        "Baking",
        "PROMOTE",
        5000,
        40,
    )
    assert baking.ended


def test_the_report_has_the_documented_shape(tmp_path: Path) -> None:
    found = standing("s", _document("RolledBack", "ROLLBACK", "guardrail_harm", units=5, look=2))
    write_report(tmp_path / "r.json", [found], seconds=12.34, events={"events_delivered": 9})
    assert json.loads((tmp_path / "r.json").read_text()) == {
        "rollouts": [
            {
                "slot": "s",
                "id": "r-1",
                "challenger": "weather-boosting 2013.2",
                "state": "RolledBack",
                "verdict": "ROLLBACK",
                "units": 5,
                "looks": 2,
                "reason": "guardrail_harm",
            }
        ],
        "seconds": 12.3,
        "events": {"events_delivered": 9},
    }


def test_off_a_terminal_a_line_stands_for_a_change() -> None:
    stream = io.StringIO()
    progress = Progress(lambda: 7.0, stream)
    one = Standing(
        slot="s",
        id="r-1",
        challenger="m 1",
        state="Ramping",
        verdict="KEEP_GOING",
        units=1,
        looks=1,
        reason="too_few_units",
    )
    for _ in range(3):
        progress.show("2013-04-02", 10, [one])
    progress.end()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1
    assert "Ramping" in lines[0]
    assert lines[0].startswith("    7 s  2013-04-02")


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_is_told_what_is_counted_in_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    one = standing("s", _document("Ramping", "KEEP_GOING", "x", units=4321, look=1))
    stream = _Terminal()
    progress = Progress(lambda: 7.0, stream)
    progress.show("2013-04-02", 1234, [one])
    assert stream.getvalue().endswith("2013-04-02  1,234 flights served; complete units: s 4,321")
    monkeypatch.setenv("COLUMNS", "20")
    progress.show("2013-04-02", 1234, [one])
    assert len(stream.getvalue().rpartition("\x1b[K")[2]) < 20


def test_the_end_of_december_is_told_once() -> None:
    stream = io.StringIO()
    progress = Progress(lambda: 85.0, stream)
    for later in (False, True, True):
        progress.show("2013-04-02", 10, [], later=later)
    assert stream.getvalue() == f"   85 s  {LATER}\n"


def test_one_sentence_tells_the_end() -> None:
    found = standing("s", _document("RolledBack", "ROLLBACK", "guardrail_harm", units=5, look=2))
    fine = {"events_delivered": 264_000, "events_waiting": 3, "ruleset_fetches": 9}
    assert lost_events(fine) == 0
    assert closing([found], report=Path("r.json"), events=fine) == (
        "s ROLLBACK (RolledBack); 264,000 events delivered, none lost; report in r.json."
    )
    lossy = {**fine, "events_queue_full": 28_000, "events_refused_413": 77}
    assert lost_events(lossy) == 28_077
    told = closing([found], report=None, events=lossy)
    assert told.endswith("28,077 LOST, so no verdict above is reliable.")
