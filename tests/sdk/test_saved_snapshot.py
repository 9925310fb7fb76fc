"""What a client keeps on disk: the next process starts from it, and damage is noticed."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from controller.assignment.evaluate import evaluate
from controller.assignment.ruleset import Ruleset
from controller.sdk.snapshot import load
from tests.processes import PATIENCE_SECONDS
from tests.sdk.conftest import MakeClient
from tests.sdk.service import KEY, Service, hang, wait_for


def test_the_next_process_starts_from_the_saved_snapshot(
    service: Service, live: Ruleset, make_client: MakeClient
) -> None:
    first = make_client(service)
    assert first.wait_until_ready(PATIENCE_SECONDS)
    first.close()
    service.fault = hang
    second = make_client(service)
    assert second.assign("alert", unit="1") == evaluate(live, "alert", "1")
    assert second.explain("alert", unit="1")["source"] == "snapshot"


def test_an_older_ruleset_is_refused_across_a_restart(
    service: Service, live: Ruleset, make_client: MakeClient
) -> None:
    service.publish(replace(live, version=9))
    first = make_client(service)
    assert first.wait_until_ready(PATIENCE_SECONDS)
    first.close()
    service.publish(live)
    second = make_client(service)
    second.assign("alert", unit="1")
    assert wait_for(lambda: second.states().get("refresh") == "refused")
    assert second.ruleset_version == 9


@pytest.mark.parametrize("damage", [b"", b"x", b"{}\n", b'{"etag":1}\n{}', os.urandom(500)])
def test_a_damaged_snapshot_is_refused_and_replaced(
    damage: bytes, service: Service, make_client: MakeClient, tmp_path: Path
) -> None:
    first = make_client(service)
    assert first.wait_until_ready(PATIENCE_SECONDS)
    first.close()
    (saved,) = tmp_path.rglob("ruleset.snapshot")
    saved.write_bytes(damage)
    second = make_client(service)
    assert second.states()["snapshot"] == "refused"
    assert second.wait_until_ready(PATIENCE_SECONDS)
    assert wait_for(lambda: saved.read_bytes() != damage)
    assert load(saved.parent, KEY) is not None


def test_one_bit_flipped_anywhere_in_the_snapshot_is_noticed(
    service: Service, make_client: MakeClient, tmp_path: Path
) -> None:
    first = make_client(service)
    assert first.wait_until_ready(PATIENCE_SECONDS)
    first.close()
    (saved,) = tmp_path.rglob("ruleset.snapshot")
    whole = saved.read_bytes()
    refused = 0
    for place in range(0, len(whole), 37):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        saved.write_bytes(bytes(damaged))
        client = make_client(service)
        refused += client.states().get("snapshot") == "refused"
        client.close()
    assert refused == len(range(0, len(whole), 37))


def test_the_saved_files_belong_to_their_owner_alone(
    service: Service, make_client: MakeClient, tmp_path: Path
) -> None:
    client = make_client(service)
    assert client.wait_until_ready(PATIENCE_SECONDS)
    service.fault = lambda handler: handler.command == "POST" and handler.answer(503, b"")
    client.assign("alert", unit="1")
    assert wait_for(lambda: any(tmp_path.rglob("*.seg")))
    modes = {path.name[-8:]: path.stat().st_mode & 0o077 for path in tmp_path.rglob("*")
             if path.suffix in {".seg", ".snapshot"} or path.name == "spool"}  # fmt: skip
    assert modes
    assert not any(modes.values())
