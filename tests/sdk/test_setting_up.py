"""How a client begins: bootstrap, environment, a malformed set-up, and what it imports."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.assignment.choice import Reason
from controller.assignment.evaluate import evaluate
from controller.assignment.ruleset import Ruleset
from controller.errors import InvalidInput
from controller.sdk import Client
from tests.processes import PATIENCE_SECONDS
from tests.sdk.conftest import MakeClient
from tests.sdk.service import KEY, Service, wait_for


def test_a_bootstrap_answers_before_and_without_the_service(
    make_client: MakeClient, live: Ruleset, tmp_path: Path
) -> None:
    path = tmp_path / "bootstrap.json"
    path.write_bytes(live.encode())
    for bootstrap in (path, str(path), live.document()):
        client = make_client(bootstrap=bootstrap)
        assert client.assign("alert", unit="1") == evaluate(live, "alert", "1")
        assert client.counts()["events_offline"] == 1
        assert client.flush(PATIENCE_SECONDS)


def test_the_service_replaces_a_bootstrap_whatever_its_version(
    service: Service, make_client: MakeClient, live: Ruleset
) -> None:
    other = replace(live, deployment="elsewhere", version=10**12)
    client = make_client(service, bootstrap=other.document())
    client.assign("alert", unit="1")
    assert wait_for(lambda: client.ruleset_version == 7)


@pytest.mark.parametrize("bootstrap", ["/nowhere/at/all", "\0", 5, [], {"schema": 9}, {}])
def test_a_bad_bootstrap_is_said_and_survived(bootstrap: Any, make_client: MakeClient) -> None:
    client = make_client(bootstrap=bootstrap)
    assert client.assign("alert", unit="1").reason is Reason.NO_RULESET
    assert client.states()["bootstrap"] == "refused"


def test_without_a_ruleset_the_default_is_the_payload(make_client: MakeClient) -> None:
    client = make_client()
    choice = client.assign("alert", unit="1", default={"threshold": 0.5})
    assert (choice.arm, choice.model, choice.payload, choice.reason, choice.ruleset) == (
        "champion",
        None,
        {"threshold": 0.5},
        "NO_RULESET",
        0,
    )


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("ftp://host", KEY),
        ("host:8080", KEY),
        ("http://", KEY),
        ("", KEY),
        ("http://host:99999", KEY),
        ("http://host:80a", KEY),
        ("http://host:0", KEY),
        ("http://:8080", KEY),
        ("http://[::1", KEY),
        (b"http://host", KEY),
        (5, KEY),
        ("http://host", "secret"),
        ("http://host", None),
        (None, KEY),
    ],
)
def test_a_malformed_setup_is_said_at_once(url: Any, key: str | None) -> None:
    with pytest.raises(InvalidInput):
        Client(url, key)


def test_a_user_without_a_home_keeps_everything_in_memory(
    service: Service, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pwd

    def unknown(uid: int) -> Any:
        raise KeyError(uid)

    for name in ("HOME", "XDG_STATE_HOME", "CONTROLLER_STATE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    client = make_client(service, state_dir=None)
    assert client.wait_until_ready(PATIENCE_SECONDS)
    client.track("cost", unit="1")
    assert client.flush(PATIENCE_SECONDS)
    assert [event["unit"] for event in service.events] == ["1"]
    assert client.states()["state_dir"] == "none"


@pytest.mark.parametrize("path", ["a\0b", 5])
def test_a_path_that_is_none_costs_what_it_was_for_and_nothing_else(
    path: Any, service: Service, make_client: MakeClient
) -> None:
    client = make_client(service, state_dir=path, override_file=path)
    assert client.wait_until_ready(PATIENCE_SECONDS)
    assert client.assign("alert", unit="1").reason is Reason.SPLIT
    assert client.flush(PATIENCE_SECONDS)
    assert [event["unit"] for event in service.events] == ["1"]
    assert "errors" not in client.counts()


def test_from_env_reads_url_and_key_or_stays_offline(
    service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CONTROLLER_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("CONTROLLER_URL", service.url)
    monkeypatch.setenv("CONTROLLER_KEY", KEY)
    with Client.from_env() as client:
        assert client.wait_until_ready(PATIENCE_SECONDS)
    assert any(tmp_path.rglob("ruleset.snapshot"))
    monkeypatch.delenv("CONTROLLER_URL")
    monkeypatch.delenv("CONTROLLER_KEY")
    with Client.from_env() as client:
        assert client.assign("alert", unit="1").reason is Reason.NO_RULESET
        assert client.states()["mode"] == "offline"


def test_a_client_travels_to_a_spawned_process_as_its_options(
    make_client: MakeClient, live: Ruleset
) -> None:
    client = make_client(bootstrap=live.document())
    again = pickle.loads(pickle.dumps(client))
    assert again.assign("alert", unit="1") == client.assign("alert", unit="1")


def test_importing_the_sdk_loads_only_the_standard_library() -> None:
    code = (
        "import sys, controller.sdk\n"
        "client = controller.sdk.Client()\n"
        "client.assign('a', '1')\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(loaded - set(sys.stdlib_module_names) - {'controller', '__main__'}))\n"
        "print(sorted(loaded & {'asyncio', 'http', 'ssl', 'logging', 'email', 'decimal'}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, '.')\n{code}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split("\n")[:2] == ["[]", "[]"], done.stdout
