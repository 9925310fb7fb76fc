"""Two deployments that were given one Redis: each keeps to its own keys, or is told why not."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.storage.redis.connection import connect
from tests.processes import free_ports
from tests.running import ONE_WORKER, Running, run, running
from tests.storage.valkey import Valkey

CUSTOMER = {"slot": "offers", "unit": "customer-1"}


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    with Valkey() as server:
        yield server


def define(service: Running, version: str) -> None:
    champion = {"name": "rules", "version": version}
    slot = {"unit": "customer", "champion": champion, "moving": True}
    answer = service.call("PUT", "/v1/slots/offers", service.admin_key, json_body=slot)
    assert answer.status in (200, 201), answer.body


def serves(service: Running, version: str) -> bool:
    answer = service.call("POST", "/v1/assign", service.sdk_key, json_body=CUSTOMER)
    return answer.status == 200 and answer.json["model"]["version"] == version


def keys_by_namespace(valkey: Valkey) -> dict[str, set[str]]:
    """Kinds of keys by the part of their name that tells deployments apart."""
    found: dict[str, set[str]] = {}
    with connect(valkey.url, connect_seconds=5, answer_seconds=5) as client:
        for name in client.scan_iter("*"):
            kind, namespace = name.decode().split(":")[:2]
            found.setdefault(namespace, set()).add(kind)
    return found


def copies(valkey: Valkey) -> list[bytes]:
    """The rulesets in the store."""
    with connect(valkey.url, connect_seconds=5, answer_seconds=5) as client:
        return [client.hget(name, "body") or b"" for name in client.scan_iter("ruleset-copy:*")]


def test_two_services_on_one_store_do_not_meet(tmp_path: Path, valkey: Valkey) -> None:
    where = {"REDIS_URL": valkey.url}
    with (
        running(tmp_path / "staging", *ONE_WORKER, env=where) as staging,
        running(tmp_path / "production", *ONE_WORKER, env=where) as production,
    ):
        define(staging, "staged")
        define(production, "sold")
        staging.until(lambda: serves(staging, "staged"), "staging serves its own model")
        production.until(lambda: serves(production, "sold"), "production serves its own model")
        staging.until(
            lambda: (
                sorted((b"staged" in body, b"sold" in body) for body in copies(valkey))
                == [(False, True), (True, False)]
            ),
            "each has a copy of its own ruleset",
        )
        for service in (staging, production):  # the stream shall know the key
            assert service.call("GET", "/v1/ruleset", service.sdk_key).status == 200
        found = keys_by_namespace(valkey)
        assert len(found) == 2
        for kinds in found.values():
            assert {"deployment", "ruleset-copy", "stream-key"} <= kinds


def test_a_second_service_with_the_same_secret_refuses_to_start(
    tmp_path: Path, valkey: Valkey
) -> None:
    shared = {"REDIS_URL": valkey.url, "CONTROLLER_SECRET_KEY": secrets.token_hex(32)}
    with running(tmp_path / "first", *ONE_WORKER, env=shared) as first:
        port, stream_port = map(str, free_ports(2))
        refused = run(
            *("up", "--data-dir", str(tmp_path / "second")),
            *("--port", port, "--stream-port", stream_port),
            env=shared,
        )
        assert refused.returncode == 1
        assert "use one Redis with the same CONTROLLER_SECRET_KEY" in refused.stderr
        assert "Traceback" not in refused.stderr
        assert first.ready()
        named = {**shared, "CONTROLLER_REDIS_NAMESPACE": "second"}
        with running(tmp_path / "second", *ONE_WORKER, env=named) as second:
            assert second.ready()
        assert "second" in keys_by_namespace(valkey)


@pytest.mark.postgres
def test_two_machines_of_one_deployment_share_the_store(
    tmp_path: Path, valkey: Valkey, postgres_url: str
) -> None:
    """The same database and secret: one deployment, however many `up` run and crash."""
    shared = {
        "REDIS_URL": valkey.url,
        "DATABASE_URL": postgres_url,
        "CONTROLLER_SECRET_KEY": secrets.token_hex(32),
    }
    with running(tmp_path / "first", *ONE_WORKER, env=shared) as first:
        define(first, "1")
        with running(tmp_path / "second", *ONE_WORKER, env=shared) as second:
            second.until(lambda: serves_for(first, second, "1"), "the second machine serves")
            define(first, "2")
            second.until(lambda: serves_for(first, second, "2"), "and follows the first")
            with connect(valkey.url, connect_seconds=5, answer_seconds=5) as client:
                (claim,) = client.scan_iter("deployment:*")
                before = client.get(claim)
            second.process.kill()
            second.process.wait()
        with running(tmp_path / "third", *ONE_WORKER, env=shared) as third:
            assert third.ready(), "what a crash left behind keeps nobody from starting"
            with connect(valkey.url, connect_seconds=5, answer_seconds=5) as client:
                assert client.get(claim) == before


def serves_for(first: Running, other: Running, version: str) -> bool:
    """Whether one machine serves what was said to another, to the key that was made there."""
    answer = other.call("POST", "/v1/assign", first.sdk_key, json_body=CUSTOMER)
    return answer.status == 200 and answer.json["model"]["version"] == version
