"""The whole product as a person starts it: `controller up`, asked, killed and stopped."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.cli.client import ServiceClient
from tests.processes import PATIENCE_SECONDS, descendants, free_ports, wait_until

COMMAND = str(Path(sys.executable).with_name("controller"))
ONE_WORKER = ("--web-workers", "1")
STOP_SECONDS = 40.0
ANNOUNCED = "Console"
"""What `up` and `demo` say last in their start."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A started service."""

    process: subprocess.Popen[bytes]
    port: int
    stream_port: int
    data_dir: Path
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def credentials(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.data_dir / "credentials.json").read_text())
        return document

    @property
    def admin_key(self) -> str:
        return str(self.credentials["keys"]["admin"])

    @property
    def sdk_key(self) -> str:
        return str(self.credentials["keys"]["sdk"])

    @property
    def admin_token(self) -> str:
        return str(self.credentials["operators"]["admin"]["token"])

    def as_operator(self, name: str = "admin") -> ServiceClient:
        """The command line's client with a person's token."""
        return ServiceClient(self.url, self.credentials["operators"][name]["token"])

    def with_key(self, name: str) -> ServiceClient:
        """The command line's client with a key."""
        return ServiceClient(self.url, self.credentials["keys"][name])

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

    def until(
        self, condition: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS
    ) -> Any:
        """The first true answer of a question; the end of the log where there is none."""
        return wait_until(condition, what, seconds, log=self.log)

    def ready(self, port: int | None = None) -> bool:
        """Whether web, or what listens on `port`, says that it can serve."""
        return self.call("GET", "/readyz", port=port, timeout=5.0).status == 200

    def children(self) -> dict[str, int]:
        """Pids of the service's processes by what they run: web, stream, worker, valkey."""
        found = {}
        for pid in descendants(self.process.pid, deep=False):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            if len(words) < 2:
                continue  # a process that is just starting, or has just ended
            name = "valkey" if "valkey-server" in words[0] else words[-2]
            found[name] = pid
        return found

    def stop(self) -> int:
        """Stop it as an init system does; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without settings of the product's, and `more`."""
    ours = ("CONTROLLER_", "DATABASE_URL", "REDIS_URL")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | dict(more or {})


def run(
    *arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """One command of the command line, to its end."""
    return subprocess.run(
        [COMMAND, *arguments],
        env=environment(env),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def start(
    data_dir: Path, *options: str, env: Mapping[str, str] | None = None, command: str = "up"
) -> Running:
    """Start on free ports and wait until it serves; its log lies beside `data_dir`."""
    port, stream_port = free_ports(2)
    log = data_dir.with_name(f"{data_dir.name}.log")
    with log.open("ab") as output:
        before = log.read_text().count(ANNOUNCED)
        process = subprocess.Popen(
            [
                *(COMMAND, command, "--data-dir", str(data_dir)),
                *("--port", str(port), "--stream-port", str(stream_port), *options),
            ],
            env=environment(env),
            cwd=data_dir.parent,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    service = Running(
        process=process, port=port, stream_port=stream_port, data_dir=data_dir, log=log
    )

    def serves() -> bool:
        assert process.poll() is None, log.read_text()
        announced = log.read_text().count(ANNOUNCED) > before
        return announced and service.ready() and service.ready(stream_port)

    try:
        service.until(serves, "it is ready")
    except BaseException:
        service.stop()
        raise
    return service


@contextmanager
def running(
    data_dir: Path, *options: str, env: Mapping[str, str] | None = None, command: str = "up"
) -> Iterator[Running]:
    """A service that is stopped at the end, whatever happened."""
    service = start(data_dir, *options, env=env, command=command)
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.stop()
