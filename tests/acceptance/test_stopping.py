"""Stopping a service and what runs in it; its Redis is a cluster of three masters."""

from __future__ import annotations

import http.client
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any
from urllib.parse import urlsplit

import pytest

from controller.cli.exits import Exit
from tests.running import Running, run, running
from tests.storage.valkey import cluster_of_three
from tests.web import METRIC, SLOT

AT_ONCE_SECONDS = 6.0
"""Below the ten that gunicorn would wait for an open stream, far above a poll of 0.4."""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Running]:
    with (
        cluster_of_three("valkey") as url,
        running(tmp_path / "data", "--web-workers", "1", env={"REDIS_URL": url}) as started,
    ):
        yield started


class Stream(threading.Thread):
    """Reads one answer to its end; `lines` is what came, `ended` when it was over."""

    def __init__(self, url: str, who: str | None) -> None:
        super().__init__(daemon=True)
        parts = urlsplit(url)
        self._line = http.client.HTTPConnection(parts.netloc, timeout=60)
        headers = {} if who is None else {"Authorization": f"Bearer {who}"}
        self._line.request("GET", f"{parts.path}?{parts.query}", headers=headers)
        self.lines: list[bytes] = []
        self.ended: float | None = None
        self.failed: Exception | None = None

    def run(self) -> None:
        try:
            self.answer = self._line.getresponse()
            while line := self.answer.readline():
                self.lines.append(line)
        except (OSError, http.client.HTTPException) as error:
            self.failed = error
        self.ended = time.monotonic()
        self._line.close()

    def heard(self, text: bytes) -> bool:
        return any(text in line for line in self.lines)


def define(service: Running, **slot: Any) -> None:
    put = {"metrics/cost": METRIC, "slots/late": SLOT | {"policy": "solo"} | slot}
    for path, document in put.items():
        made = service.call("PUT", f"/v1/{path}", service.admin_token, json_body=document)
        assert made.status == 200, made.body


def rollout(service: Running, **more: Any) -> str:
    asked = {"slot": "late", "challengers": [{"name": "trees", "version": "7"}], **more}
    made = service.call("POST", "/v1/rollouts", service.admin_token, json_body=asked)
    assert made.status == 201, made.body
    return str(made.json["metadata"]["id"])


def test_a_stop_ends_every_open_stream_at_once_and_cleanly(service: Running) -> None:
    define(service)
    path = f"{service.url}/v1/rollouts/{rollout(service)}"
    assert service.call("GET", "/v1/ruleset", service.sdk_key).status == 200
    to_stream = service.call("GET", "/v1/ruleset/stream", service.sdk_key)
    assert to_stream.status == 307
    news = Stream(to_stream.headers["location"], None)
    direct = Stream(f"http://127.0.0.1:{service.stream_port}/v1/ruleset/stream", service.sdk_key)
    log = Stream(f"{path}/events", service.admin_token)
    poll = Stream(f"{path}?watch=1&after=1000", service.admin_token)
    streams = [news, direct, log, poll]
    for stream in streams:
        stream.start()
    for stream in (news, direct, log):
        service.until(partial(stream.heard, b"retry: "), "the stream is open")
    define(service, description="something changes")
    for stream in (news, direct):
        service.until(partial(stream.heard, b'data: {"version": 1'), "the note is there")
    assert poll.is_alive()
    for stream in streams:
        assert stream.ended is None
    asked = time.monotonic()
    service.process.send_signal(signal.SIGTERM)
    for stream in streams:
        stream.join(30)
        assert stream.failed is None, "it ends as an answer does, not as a line that is cut"
        assert stream.ended is not None
        assert stream.ended - asked < AT_ONCE_SECONDS
    for stream in (news, direct, log):
        waits = [int(line[7:]) for line in stream.lines if line.startswith(b"retry: ")]
        assert len(waits) == 2, "once at its beginning, once as it is sent away"
        assert 500 <= waits[-1] <= 5000
    assert poll.answer.status == 200
    assert service.process.wait(30) == 0


def test_a_key_that_may_stop_gives_up_a_challenger_from_the_command_line(
    service: Running,
) -> None:
    define(service)
    models = [{"name": "trees", "version": "7"}, {"name": "forest", "version": "2"}]
    path = f"/v1/rollouts/{rollout(service, challengers=models)}"
    read = {"If-Match": service.call("GET", path, service.admin_token).headers["etag"]}
    moved = service.call("POST", f"{path}/actions/submit", service.admin_token, headers=read)
    assert moved.status == 200, moved.body
    service.until(
        lambda: service.call("GET", path, service.admin_token).json["status"]["state"] == "Ramping",
        "it splits traffic",
    )
    key = service.call(
        "POST", "/v1/keys", service.admin_token, json_body={"name": "pager", "scopes": ["stop"]}
    ).json["key"]

    def edit(weights: str) -> CompletedProcess[str]:
        env = {"CONTROLLER_URL": service.url, "CONTROLLER_KEY": key}
        return run("rollout", "edit", path.rpartition("/")[2], "--weights", weights, env=env)

    refused = edit("champion=0.6,challenger-1=0.2,challenger-2=0.2")
    assert refused.returncode == Exit.NOT_PERMITTED, refused.stderr
    dropped = edit("champion=0.5,challenger-1=0.5,challenger-2=0")
    assert dropped.returncode == Exit.OK, dropped.stderr
    left = service.call("GET", path, service.admin_token).json["status"]["allocation"]
    assert list(left["dropped"]) == ["challenger-2"]
