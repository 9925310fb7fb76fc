"""`controller up` as an operator meets it: `make run` is this command in a fresh `.venv`."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import alive, descendants, free_port, free_ports, wait_until
from tests.running import COMMAND, ONE_WORKER, Running, run, running, start

READ_KEY = (
    "import json; print(json.load(open('controller-data/credentials.json'))['keys']['admin'])"
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service for those who only ask it, or kill a part of it that comes back."""
    with running(tmp_path_factory.mktemp("up") / "controller-data", *ONE_WORKER) as up:
        yield up


def test_a_clean_stop_exits_0_and_leaves_no_process(tmp_path: Path) -> None:
    with running(tmp_path / "data", *ONE_WORKER) as up:
        family = descendants(up.process.pid)
        assert set(up.children()) == {"web", "stream", "worker", "valkey"}
        assert up.stop() == 0
    wait_until(lambda: not [pid for pid in family if alive(pid)], "no process is left")
    said = up.log.read_text()
    assert f"Console and API: {up.url}" in said
    assert up.credentials["operators"]["admin"]["password"] in said


@pytest.mark.parametrize("reached", ["lock", "main.db", "credentials.json"])
def test_a_stop_during_the_start_exits_0_without_an_announcement(
    tmp_path: Path, reached: str
) -> None:
    """About a second after the command: wherever the start is, it ends there."""
    data, log = tmp_path / "data", tmp_path / "log"
    port, stream_port = free_ports(2)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(COMMAND, "up", "--data-dir", str(data), *ONE_WORKER),
                *("--port", str(port), "--stream-port", str(stream_port)),
            ],
            stdout=output,
            stderr=output,
        )
    try:
        wait_until((data / reached).exists, f"{reached} is there")
        family = descendants(process.pid)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
    said = log.read_text()
    assert "stopping" in said
    assert "Console and API" not in said
    assert "Traceback" not in said
    wait_until(lambda: not [pid for pid in family if alive(pid)], "no process is left")
    with running(data, *ONE_WORKER) as up:
        assert up.ready()


def test_a_second_start_continues_where_the_first_stopped(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running(data, *ONE_WORKER) as up:
        first = up.credentials
        up.as_operator().call(
            "PUT",
            "/v1/metrics/margin",
            body={"type": "mean", "direction": "increase", "outcome": "m", "window_seconds": 60},
        )
    with running(data, *ONE_WORKER) as up:
        second = up.credentials
        assert second["keys"] == first["keys"]
        assert second["operators"] == first["operators"]
        assert up.as_operator().get("/v1/metrics/margin")["outcome"] == "m"
        assert up.as_operator().get("/v1/audit/verify")["intact"] is True
    assert up.log.read_text().count("shown once") == 1


def test_credentials_are_readable_by_their_owner_alone(shared: Running) -> None:
    for name in ("credentials.json", "secret"):
        assert stat.S_IMODE((shared.data_dir / name).stat().st_mode) == 0o600


def test_two_services_on_one_data_directory_are_refused(shared: Running) -> None:
    second = run("up", "--data-dir", str(shared.data_dir), "--port", str(free_port()))
    assert second.returncode == 1
    assert "Another service already runs on" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_killed_supervisor_leaves_no_orphan(tmp_path: Path) -> None:
    up = start(tmp_path / "data", *ONE_WORKER)
    family = descendants(up.process.pid)
    assert len(family) >= 4
    up.process.kill()
    up.process.wait()
    wait_until(lambda: not [pid for pid in family if alive(pid)], "no orphan is left")
    with running(tmp_path / "data", *ONE_WORKER) as again:
        assert again.ready()


@pytest.mark.parametrize("victim", ["web", "stream", "worker", "valkey"])
def test_a_killed_part_comes_back_by_itself(shared: Running, victim: str) -> None:
    before = shared.children()[victim]
    below = [before, *descendants(before)]
    os.kill(before, signal.SIGKILL)
    shared.until(lambda: shared.children().get(victim, before) != before, f"{victim} is back")
    # A killed web server's worker may answer once more before it notices: ask only the new one.
    shared.until(lambda: not [pid for pid in below if alive(pid)], f"the old {victim} is gone")
    answer = shared.until(lambda: shared.as_operator().get("/v1/slots"), "it answers again")
    assert answer == {"slots": []}


def test_a_busy_port_is_said_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ran = run("up", "--data-dir", str(tmp_path / "data"), "--port", str(port))
    assert ran.returncode == 1
    assert f"Cannot listen on 127.0.0.1:{port}" in ran.stderr
    assert "--port" in ran.stderr


def test_a_data_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ran = run("up", "--data-dir", str(tmp_path / "file" / "data"))
    assert ran.returncode == 1
    assert "cannot be written" in ran.stderr
    assert "--data-dir" in ran.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a read-only directory")
def test_a_read_only_data_directory_is_said(tmp_path: Path) -> None:
    read_only = tmp_path / "read-only"
    read_only.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs", str(read_only)], check=False
    )
    if mounted.returncode:
        read_only.chmod(0o500)
        (read_only / "data").write_text("a file where the directory should be")
    try:
        ran = run("up", "--data-dir", str(read_only / "data"))
    finally:
        subprocess.run(["umount", str(read_only)], check=False, capture_output=True)
    assert ran.returncode == 1
    assert "cannot be written" in ran.stderr


def test_a_damaged_database_is_said_and_left_as_it_is(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "main.db").write_bytes(b"this is no database" * 1000)
    before = (data / "main.db").read_bytes()
    ran = run("up", "--data-dir", str(data), "--port", str(free_port()))
    assert ran.returncode == 1
    assert "is damaged" in ran.stderr
    assert "controller restore" in ran.stderr
    assert (data / "main.db").read_bytes() == before


def test_a_database_from_a_newer_version_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running(data, *ONE_WORKER):
        pass
    connection = sqlite3.connect(data / "main.db")
    connection.execute("update schema_version set version_num = 'main_9999'")
    connection.commit()
    connection.close()
    ran = run("up", "--data-dir", str(data), "--port", str(free_port()))
    assert ran.returncode == 1
    assert "written by a newer version" in ran.stderr
    checked = run("doctor", "--json", env={"CONTROLLER_DATA_DIR": str(data)})
    assert checked.returncode == 1
    findings = {finding["check"]: finding for finding in json.loads(checked.stdout)}
    assert findings["migrations"]["good"] is False
    assert findings["database"]["good"] is True


def test_an_unreachable_redis_is_said(tmp_path: Path) -> None:
    ran = run(
        *("up", "--data-dir", str(tmp_path / "data"), "--port", str(free_port())),
        env={"REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"},
    )
    assert ran.returncode == 1
    assert "Redis does not answer" in ran.stderr
    assert "REDIS_URL" in ran.stderr


def test_an_unreachable_postgresql_is_said_without_its_password(tmp_path: Path) -> None:
    ran = run(
        *("up", "--data-dir", str(tmp_path / "data"), "--port", str(free_port())),
        env={"DATABASE_URL": f"postgresql://user:hunter2@127.0.0.1:{free_port()}/none"},
    )
    assert ran.returncode == 1
    assert "PostgreSQL at" in ran.stderr
    assert "hunter2" not in ran.stderr + ran.stdout


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"CONTROLLER_PORT": "http"}, "CONTROLLER_PORT must be a whole number"),
        ({"CONTROLLER_WEB_WORKERS": "0"}, "CONTROLLER_WEB_WORKERS must be a whole number in [1"),
        ({"CONTROLLER_SECRET_KEY": "short"}, "CONTROLLER_SECRET_KEY needs at least 32"),
        ({"DATABASE_URL": "mysql://h/d"}, "use sqlite:///FILE or postgresql://"),
        ({"REDIS_URL": "memcached://x"}, "REDIS_URL"),
        ({"DATABASE_URL": "what is this"}, "DATABASE_URL"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, env: dict[str, str], words: str) -> None:
    ran = run("up", "--data-dir", str(tmp_path / "data"), env=env)
    assert ran.returncode == 1
    assert words in ran.stderr
    assert "Traceback" not in ran.stderr


def test_the_commands_of_the_tutorial_find_the_service(shared: Running) -> None:
    """The export lines: an address, a key read from credentials.json, and the commands after."""
    folder = shared.data_dir.parent
    key = subprocess.run(
        ["python3", "-c", READ_KEY], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.strip()
    ran = run("slot", "list", env={"CONTROLLER_URL": shared.url, "CONTROLLER_KEY": key})
    assert ran.returncode == 0, ran.stderr
    beside = run("slot", "list", "--json", cwd=folder)
    assert json.loads(beside.stdout) == {"slots": []}
    export = run("slot", "list", env={"CONTROLLER_URL": shared.url, "CONTROLLER_KEY": key + "x"})
    assert export.returncode == 4


def test_a_new_operator_gets_a_link_that_says_how_long_it_is_good(shared: Running) -> None:
    env = {"CONTROLLER_URL": shared.url, "CONTROLLER_TOKEN": shared.admin_token}
    added = run("operator", "add", "ruth", "--roles", "viewer", "approver", env=env)
    with_key = run(
        *("operator", "add", "eve", "--roles", "approver"),
        env={**env, "CONTROLLER_TOKEN": shared.admin_key},
    )
    assert added.returncode == 0, added.stderr
    assert "good once until 20" in added.stdout
    assert f"{shared.url}/link/" in added.stdout
    assert with_key.returncode == 4, with_key.stderr


def test_the_first_operator_of_a_bare_database_needs_nobody_to_ask(tmp_path: Path) -> None:
    """As the chart's notes say: no credentials file, no token, only the database."""
    env = {
        "DATABASE_URL": f"sqlite:///{tmp_path / 'main.db'}",
        "CONTROLLER_PUBLIC_URL": "https://rollouts.example.org",
    }
    assert run("migrate", env=env).returncode == 0
    command = ("operator", "add", "ana", "--roles", "admin", "viewer", "--in-database")
    made = run(*command, env=env)
    assert made.returncode == 0, made.stderr
    assert "https://rollouts.example.org/link/" in made.stdout
    again = run(*command, env=env)
    assert again.returncode == 5
    assert "already" in again.stderr


def test_a_backup_of_a_running_service_can_be_restored(tmp_path: Path) -> None:
    """As the how-to says: back up, stop, mv the old files aside, restore, start."""
    data, backup = tmp_path / "controller-data", tmp_path / "backups" / "monday"
    env = {"CONTROLLER_DATA_DIR": str(data)}
    with running(data, *ONE_WORKER) as up:
        before = up.credentials["keys"]
        made = run("backup", str(backup), env=env)
        assert made.returncode == 0, made.stderr
        up.with_key("admin").call("POST", "/v1/kill")  # SDKs have seen a newer ruleset
        seen = up.with_key("sdk").get("/v1/ruleset")["version"]
        refused = run("restore", str(backup), env=env)
        assert refused.returncode == 1
        assert "Another service already runs on" in refused.stderr
    standing = run("restore", str(backup), env=env)
    assert standing.returncode == 1
    assert "stands in the way" in standing.stderr
    aside = tmp_path / "aside"
    aside.mkdir()
    for path in [*data.glob("main.db*"), *data.glob("inbox.db*")]:
        path.rename(aside / path.name)
    restored = run("restore", str(backup), env=env)
    assert restored.returncode == 0, restored.stderr
    with running(data, *ONE_WORKER) as up:
        assert up.credentials["keys"] == before
        assert up.with_key("admin").get("/v1/slots") == {"slots": []}
        assert up.as_operator().get("/v1/audit/verify")["intact"] is True
        assert up.with_key("sdk").get("/v1/ruleset")["version"] > seen, "else SDKs refuse it"
