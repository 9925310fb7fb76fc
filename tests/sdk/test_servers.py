"""One client under the servers people run: every event exactly once, and every process refreshes.

Each server is started as its users start it and stopped as their init system stops it. The events
of a client must arrive once, whether they were reported before a fork, by a worker, or in the last
moment before the worker leaves; and a ruleset published while the workers run must reach them all.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from controller.assignment.ruleset import Ruleset
from tests.sdk.service import Service, wait_for
from tests.sdk.test_processes import env
from tests.storage.valkey import Valkey

NEWER = 8


@contextmanager
def running(command: list[str], service: Service, folder: Path) -> Iterator[None]:
    """A server in `folder`, stopped by SIGTERM; it must leave in good order."""
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-m", *command], cwd=folder, env=env(service, folder),
            stdout=log, stderr=log,
        ) as server,
    ):  # fmt: skip
        try:
            yield
            server.send_signal(signal.SIGTERM)
            assert server.wait(30) == 0, (folder / "log").read_text()[-3000:]
        except BaseException:
            server.kill()
            print((folder / "log").read_text()[-3000:])
            raise


# ---------------------------------------------------------------- gunicorn

WEB = """
    import os
    from controller.sdk import Client

    client = Client.from_env(flush_seconds=0.1, poll_seconds=0.2)
    client.track("cost", unit=f"boot-{os.getpid()}")

    def app(environ, start_response):
        unit = environ["PATH_INFO"].strip("/")
        ready = client.wait_until_ready()
        choice = client.assign("alert", unit=unit)
        client.track("cost", unit=unit, slot="alert")
        body = f"{os.getpid()} {choice.reason} {client.ruleset_version if ready else 0}".encode()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]
    """


class Unix:
    """HTTP over a unix socket, one request a connection."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def listens(self) -> bool:
        """Whether somebody takes connections; the file is there a moment earlier."""
        with socket.socket(socket.AF_UNIX) as wire:
            return wire.connect_ex(self._path) == 0

    def get(self, path: str) -> str:
        with socket.socket(socket.AF_UNIX) as wire:
            wire.settimeout(20)
            wire.connect(self._path)
            wire.sendall(f"GET /{path} HTTP/1.0\r\n\r\n".encode())
            data = b""
            while part := wire.recv(65536):
                data += part
        return data.partition(b"\r\n\r\n")[2].decode()


@pytest.mark.parametrize("preload", [[], ["--preload"]], ids=["plain", "preload"])
@pytest.mark.parametrize("kind", [["sync"], ["gthread", "--threads", "4"], ["gevent"]], ids="".join)
def test_under_gunicorn_every_worker_assigns_refreshes_and_delivers(
    kind: list[str], preload: list[str], service: Service, live: Ruleset, tmp_path: Path
) -> None:
    (tmp_path / "application.py").write_text(textwrap.dedent(WEB))
    command = [
        "gunicorn", "-k", *kind, "-w", "2", "-b", f"unix:{tmp_path}/s", "--graceful-timeout", "5",
        *preload, "application:app",
    ]  # fmt: skip
    units = [f"unit-{number}" for number in range(80)]
    with running(command, service, tmp_path), ThreadPoolExecutor(8) as pool:
        asked = Unix(tmp_path / "s")
        assert wait_for(asked.listens)
        # Many at once from the first moment on: the client starts while they wait for it.
        answers = [line.split() for line in pool.map(asked.get, units)]
        assert {reason for _, reason, _ in answers} == {"SPLIT"}
        workers = {pid for pid, _, _ in answers}
        service.publish(replace(live, version=NEWER))
        newest: set[str] = set()

        def every_worker_is_new() -> bool:
            pid, _, version = asked.get("again").split()
            newest.update([pid] if version == str(NEWER) else [])
            return workers <= newest

        assert wait_for(every_worker_is_new)
        last = [f"last-{number}" for number in range(40)]
        list(pool.map(asked.get, last))
    exposed = Counter(e["unit"] for e in service.events if e["type"] == "exposure")
    tracked = Counter(e["unit"] for e in service.events if e["type"] == "outcome")
    for count in (exposed, tracked):
        del count["again"]
    booted = {unit for unit in tracked if unit.startswith("boot-")}
    assert len(booted) == (1 if preload else 2)
    assert exposed == Counter(units + last)
    assert tracked == Counter([*units, *last, *booted])


# ---------------------------------------------------------------- Celery

TASKS = """
    import os
    from celery import Celery
    from controller.sdk import Client

    app = Celery("tasks", broker=os.environ["BROKER"], backend=None)
    app.conf.worker_hijack_root_logger = False
    app.conf.broker_connection_retry_on_startup = True
    client = Client.from_env(flush_seconds=60, poll_seconds=0.2)
    client.track("cost", unit="boot")

    @app.task
    def score(unit):
        ready = client.wait_until_ready()
        choice = client.assign("alert", unit=unit)
        version = client.ruleset_version if ready else 0
        client.track("cost", unit=unit, attributes={"pid": os.getpid(), "ruleset": version})
        return choice.arm
    """


@pytest.mark.parametrize("recycle", [[], ["--max-tasks-per-child", "7"]], ids=["kept", "recycled"])
def test_under_celery_prefork_every_child_delivers_what_its_tasks_reported(
    recycle: list[str], service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tasks.py").write_text(textwrap.dedent(TASKS))
    units = [f"unit-{number}" for number in range(60)]
    with Valkey() as broker:
        monkeypatch.setenv("BROKER", broker.url.replace("unix://", "redis+socket://"))
        command = ["celery", "-A", "tasks", "worker", "-P", "prefork", "-c", "2", "-l", "info"]
        with running([*command, *recycle], service, tmp_path):
            send = "import sys, tasks\nfor unit in sys.argv[1:]: tasks.score.delay(unit)"
            subprocess.run(
                [sys.executable, "-c", send, *units],
                cwd=tmp_path, env=env(service, tmp_path / "sender"), timeout=60, check=True,
            )  # fmt: skip
            assert wait_for(
                lambda: (tmp_path / "log").read_text().count(" succeeded in ") == 60, 60
            )
    exposed = Counter(e["unit"] for e in service.events if e["type"] == "exposure")
    tracked = [e for e in service.events if e["type"] == "outcome" and e["unit"] != "boot"]
    assert exposed == Counter(units)
    assert Counter(e["unit"] for e in tracked) == Counter(units)
    assert {e["attributes"]["ruleset"] for e in tracked} == {7}
    assert len({e["attributes"]["pid"] for e in tracked}) >= 2
    # The worker's parent and the sender each imported the module.
    assert sum(e["unit"] == "boot" for e in service.events) == 2
