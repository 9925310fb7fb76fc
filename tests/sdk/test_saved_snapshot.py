"""What a client keeps on disk: the next process starts from it, and damage is noticed."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from controller.assignment.choice import Reason
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


def saved_file(service: Service, make_client: MakeClient, state: Path) -> Path:
    """The snapshot that a client of this service has left."""
    client = make_client(service)
    assert client.wait_until_ready(PATIENCE_SECONDS)
    assert wait_for(lambda: any(state.rglob("ruleset.snapshot")))
    client.close()
    (saved,) = state.rglob("ruleset.snapshot")
    return saved


@pytest.mark.parametrize(
    "case",
    [(6, "d-1", "snapshot"), (7, "d-1", "snapshot"), (8, "d-1", "bootstrap"),
     (8, "elsewhere", "snapshot")],
)  # fmt: skip
def test_the_newer_of_bootstrap_and_saved_snapshot_is_the_start(
    case: tuple[int, str, str], service: Service, live: Ruleset, make_client: MakeClient,
    tmp_path: Path,
) -> None:  # fmt: skip
    version, deployment, source = case
    saved_file(service, make_client, tmp_path)
    service.fault = hang
    brought = replace(live, version=version, deployment=deployment)
    client = make_client(service, bootstrap=brought.document())
    assert client.explain("alert", unit="1")["source"] == source
    assert client.assign("alert", unit="1").ruleset == (version if source == "bootstrap" else 7)


def test_a_bootstrap_gives_way_to_nothing_older_of_the_same_deployment(
    service: Service, live: Ruleset, make_client: MakeClient, tmp_path: Path
) -> None:
    saved_file(service, make_client, tmp_path)
    client = make_client(service, bootstrap=replace(live, version=9).document())
    client.assign("alert", unit="1")
    assert wait_for(lambda: client.states().get("refresh") == "refused")
    assert client.ruleset_version == 9
    service.publish(replace(live, version=10))
    assert wait_for(lambda: client.ruleset_version == 10)


@pytest.mark.parametrize(
    ("seconds", "reason"),
    [(30 * 86_400, Reason.STALE), (0, Reason.SPLIT), (-3600, Reason.STALE)],
    ids=["a month old", "just confirmed", "from the future: the clock was turned back"],
)
def test_a_saved_ruleset_is_as_old_as_its_last_confirmation(
    seconds: float, reason: Reason, service: Service, make_client: MakeClient, tmp_path: Path
) -> None:
    saved = saved_file(service, make_client, tmp_path)
    confirmed = time.time() - seconds
    os.utime(saved, (confirmed, confirmed))
    service.fault = hang
    client = make_client(service, max_staleness_seconds=60)
    assert client.assign("alert", unit="1").reason is reason
    service.fault = lambda _: False
    assert wait_for(lambda: client.assign("alert", unit="1").reason is Reason.SPLIT)


def test_a_confirmation_is_written_down_and_a_refusal_is_not(
    service: Service, make_client: MakeClient, tmp_path: Path
) -> None:
    saved = saved_file(service, make_client, tmp_path)
    os.utime(saved, (1, 1))
    service.fault = lambda handler: handler.command == "GET" and handler.answer(503, b"")
    client = make_client(service, poll_seconds=0.05)
    client.assign("alert", unit="1")
    assert wait_for(lambda: client.states().get("refresh") == "status_503")
    assert saved.stat().st_mtime == 1
    assert client.explain("alert", unit="1")["confirmed_seconds_ago"] > 86_400
    service.fault = lambda _: False
    assert wait_for(lambda: saved.stat().st_mtime > time.time() - 60)


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
