"""Looks and audit as tables: through the console and the API, the same rows."""

from __future__ import annotations

import csv
import io
import json
from itertools import pairwise
from typing import Any

from controller.flow.actors import MACHINE
from controller.flow.exports import AUDIT_COLUMNS, LOOK_COLUMNS
from controller.flow.people import make_token
from controller.flow.verbs import act
from tests.browser.world import DANA, PROJECT, World
from tests.unit.ui.conftest import Browser
from tests.unit.ui.reading import waiting


def table(browser: Browser, path: str, **options: Any) -> list[dict[str, str]]:
    answer = browser.client.get(path, **options)
    assert answer.status_code == 200, answer.text
    assert answer.content_type == "text/csv; charset=utf-8; header=present"
    assert answer.headers["Content-Disposition"].startswith("attachment; filename=")
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


def test_every_look_is_there_with_what_the_page_shows(omar: Browser) -> None:
    rollout = waiting(omar.world)
    address = f"/rollouts/{rollout}/looks.csv"
    assert f'href="{address}"' in omar.get(f"/rollouts/{rollout}")
    rows = table(omar, address)
    assert tuple(rows[0]) == LOOK_COLUMNS
    with omar.world.store.reading() as work:
        looks = work.evidence.looks(PROJECT, rollout)
    assert sorted({int(row["look"]) for row in rows}) == [one.number for one in looks]
    assert {row["evidence_sha256"] for row in rows} == {one.evidence_sha256 for one in looks}
    newest = looks[-1].summary["metrics"]["cost-per-departure"]
    last = [row for row in rows if row["metric"] == "cost-per-departure"][-1]
    comparison, test = newest["comparisons"][0], newest["comparisons"][0]["tests"][-1]
    assert (last["role"], last["arm"]) == ("oec", "challenger")
    assert float(last["estimate"]) == comparison["estimate"] < 0
    assert (float(last["low"]), float(last["high"])) == (comparison["low"], comparison["high"])
    assert float(last["z"]) == test["z"]
    assert int(last["units"]) == newest["n"]
    assert last["finding"] == "better"


def test_open_ends_and_what_is_not_known_are_empty_cells(omar: Browser) -> None:
    rows = table(omar, f"/rollouts/{waiting(omar.world)}/looks.csv")
    guardrail = [row for row in rows if row["metric"] == "costly-departures"]
    assert all(row["low"] == "" for row in guardrail if row["high"]), "one-sided"
    assert not any(
        value in ("None", "nan", "inf", "null") for row in rows for value in row.values()
    )


def test_looks_are_read_page_by_page_and_none_is_left_out(omar: Browser, monkeypatch: Any) -> None:
    address = f"/rollouts/{waiting(omar.world)}/looks.csv"
    whole = table(omar, address)
    monkeypatch.setattr("controller.flow.exports.LOOKS_A_PAGE", 3)
    assert table(omar, address) == whole


def test_the_audit_log_is_whole_in_order_and_can_be_about_one_thing(
    omar: Browser, monkeypatch: Any
) -> None:
    monkeypatch.setattr("controller.flow.exports.ENTRIES_A_PAGE", 7)
    assert 'href="/audit.csv"' in omar.get("/audit")
    rows = table(omar, "/audit.csv")
    assert tuple(rows[0]) == AUDIT_COLUMNS
    assert [int(row["seq"]) for row in rows] == list(range(1, len(rows) + 1))
    assert all(later["previous"] == earlier["hash"] for earlier, later in pairwise(rows))
    about = f"rollout/{waiting(omar.world)}"
    assert f'href="/audit.csv?object={about.replace("/", "%2F")}"' in omar.get(
        f"/audit?object={about}"
    )
    some = table(omar, f"/audit.csv?object={about}")
    assert some == [row for row in rows if row["object"] == about] != []
    assert table(omar, "/audit.csv?object=rollout/unknown") == []


def test_a_note_cannot_become_a_formula(omar: Browser) -> None:
    note = 'Storm;=HYPERLINK("http://evil.test","click")'
    act(omar.world.store, PROJECT, waiting(omar.world), "pause", actor=DANA, note=note)
    rows = table(omar, "/audit.csv")
    details = rows[-1]["details"]
    assert ";=" not in details
    assert json.loads(details)["note"] == note.replace(";=", ";'=")
    cells = [value for row in rows for value in row.values()]
    assert not any(value.startswith(("=", "+", "-", "@")) for value in cells)


def test_the_api_gives_the_same_tables_to_who_may_read(stranger: Browser, world: World) -> None:
    token = make_token(world.store, "vera", actor=MACHINE)
    who = {"headers": {"Authorization": f"Bearer {token}"}}
    rollout = waiting(world)
    stranger.sign_in("vera")
    looks = table(stranger, f"/v1/rollouts/{rollout}/looks.csv", **who)
    assert looks == table(stranger, f"/rollouts/{rollout}/looks.csv") != []
    about = f"?object=rollout/{rollout}"
    assert table(stranger, f"/v1/audit.csv{about}", **who) == table(stranger, f"/audit.csv{about}")
    missing = stranger.client.get("/v1/rollouts/r-nothing/looks.csv", **who)
    assert missing.status_code == 404
    assert '"code":"not_found"' in missing.text
