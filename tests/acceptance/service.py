"""A real `controller up` for tests: started, asked, killed and stopped as an operator would."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from controller.cli.client import ServiceClient
from controller.errors import SetupFailed

COMMAND = str(Path(sys.executable).with_name("controller"))


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


def wait_until(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    until = time.monotonic() + seconds
    while True:
        with contextlib.suppress(URLError, ConnectionError, TimeoutError, SetupFailed):
            if found := condition():
                return found
        assert time.monotonic() < until, f"{what}: not within {seconds} s"
        time.sleep(0.1)


def run(
    *arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """One command to its end."""
    return subprocess.run(
        [COMMAND, *arguments],
        env={**os.environ, **(env or {})},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@dataclass(slots=True)
class Up:
    """A running `controller up`."""

    process: subprocess.Popen[bytes]
    url: str
    data_dir: Path
    log: Path

    @property
    def credentials(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.data_dir / "credentials.json").read_text())
        return document

    def as_operator(self, name: str = "admin") -> ServiceClient:
        return ServiceClient(self.url, self.credentials["operators"][name]["token"])

    def with_key(self, name: str) -> ServiceClient:
        return ServiceClient(self.url, self.credentials["keys"][name])

    def ready(self) -> bool:
        with urlopen(f"{self.url}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)

    def children(self) -> dict[str, int]:
        """Pids of the service's processes by what they run: web, stream, worker, valkey-server."""
        found = {}
        for pid in descendants(self.process.pid, deep=False):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            if len(words) < 2:
                continue  # a process that is just starting, or has just ended
            name = "valkey" if "valkey-server" in words[0] else words[-2]
            found[name] = pid
        return found

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)


def descendants(pid: int, *, deep: bool = True) -> list[int]:
    """Every living process below `pid`."""
    below: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            below.append(child)
            if deep:
                below += descendants(child)
    return below


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def start(
    data_dir: Path, *options: str, env: Mapping[str, str] | None = None, command: str = "up"
) -> Up:
    """Start and wait until it is ready."""
    port, stream = free_port(), free_port()
    log = data_dir.with_name(f"{data_dir.name}.log")
    with log.open("ab") as output:
        process = subprocess.Popen(
            [
                *(COMMAND, command, "--data-dir", str(data_dir)),
                *("--port", str(port), "--stream-port", str(stream), *options),
            ],
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    up = Up(process=process, url=f"http://127.0.0.1:{port}", data_dir=data_dir, log=log)

    def ready() -> bool:
        assert process.poll() is None, log.read_text()
        return up.ready() and "Console" in log.read_text()  # the last thing of a start

    try:
        wait_until(ready, "the service is ready")
    except BaseException:
        process.terminate()
        process.wait(40)
        raise
    return up


@contextlib.contextmanager
def running(
    data_dir: Path, *options: str, env: Mapping[str, str] | None = None, command: str = "up"
) -> Iterator[Up]:
    """A service that is stopped at the end, whatever happened."""
    up = start(data_dir, *options, env=env, command=command)
    try:
        yield up
    finally:
        if up.process.poll() is None:
            up.stop()
