"""The whole product as a person starts it: `controller up` in a process of its own."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Running:
    """A started service."""

    folder: Path
    port: int
    stream_port: int
    process: subprocess.Popen[bytes]
    credentials: dict[str, Any]

    @property
    def admin_key(self) -> str:
        return str(self.credentials["keys"]["admin"])

    @property
    def sdk_key(self) -> str:
        return str(self.credentials["keys"]["sdk"])

    @property
    def admin_token(self) -> str:
        return str(self.credentials["operators"]["admin"]["token"])

    def call(
        self,
        method: str,
        path: str,
        who: str | None = None,
        *,
        json_body: Any = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        port: int | None = None,
        timeout: float = 30.0,
    ) -> Answer:
        """One request on a connection of its own."""
        sent = dict(headers or {})
        if who is not None:
            sent["Authorization"] = f"Bearer {who}"
        if json_body is not None:
            body = json.dumps(json_body).encode()
            sent.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=timeout)
        try:
            connection.request(method, path, body=body, headers=sent)
            response = connection.getresponse()
            named = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, named, response.read())
        finally:
            connection.close()

    def until(self, seconds: float, what: Any) -> Any:
        """The first true answer of a question asked ten times a second."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            found = what()
            if found:
                return found
            time.sleep(0.1)
        raise AssertionError(f"not within {seconds} s: {(self.folder / 'log').read_text()[-3000:]}")


@contextmanager
def running(folder: Path, **environment: str) -> Iterator[Running]:
    """`controller up` on free ports, stopped cleanly at the end."""
    port, stream_port, health_port = free_ports(3)
    command = [sys.executable, "-m", "controller", "up", "--data-dir", str(folder / "data")]
    command += ["--port", str(port), "--stream-port", str(stream_port), "--web-workers", "1"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CONTROLLER_")}
    kept |= {"CONTROLLER_HEALTH_PORT": str(health_port), **environment}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=kept, stdout=log, stderr=log, cwd=folder)
        try:
            yield _started(folder, port, stream_port, process)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise


def _started(
    folder: Path, port: int, stream_port: int, process: subprocess.Popen[bytes]
) -> Running:
    ends = time.monotonic() + START_SECONDS
    while time.monotonic() < ends and process.poll() is None:
        service = Running(folder, port, stream_port, process, {})
        if _ready(service, port) and _ready(service, stream_port):
            credentials = json.loads((folder / "data" / "credentials.json").read_text())
            return Running(folder, port, stream_port, process, credentials)
        time.sleep(0.1)
    raise AssertionError(f"it did not start: {(folder / 'log').read_text()[-3000:]}")


def _ready(service: Running, port: int) -> bool:
    try:
        return service.call("GET", "/readyz", port=port, timeout=5.0).status == 200
    except (OSError, http.client.HTTPException):
        return False


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()
