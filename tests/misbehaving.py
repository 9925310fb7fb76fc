"""Our web worker around an application that breaks off, exits, and says more than is read.

python -m tests.misbehaving PORT
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]

from controller.service.web import connections
from controller.service.web.server import configuration
from controller.settings import Settings
from tests.processes import free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

THREADS = 2
SEND_SECONDS = 2.0
"""Instead of the twenty that a client really has."""
LARGE = 30_000_000
TOGETHER = threading.Barrier(THREADS)
"""Everybody who asks for `/together` is answered once all threads are at it."""
TOGETHER_SECONDS = 30.0


def misbehave(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
    """What the address asks for."""
    path = environ["PATH_INFO"]
    if path == "/breaks-off":
        start("200 OK", [("Content-Type", "text/plain")])
        return _broken()
    if path == "/exits":
        raise SystemExit(3)
    if path == "/fails":
        raise FileNotFoundError(2, "no such file")
    if path == "/together":
        TOGETHER.wait(TOGETHER_SECONDS)
    body = b"x" * LARGE if path == "/large" else b"served"
    start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return (body,)


def _broken() -> Iterator[bytes]:
    yield b"one"
    raise RuntimeError("in the middle")


class Misbehaving(BaseApplication):  # type: ignore[misc]
    """gunicorn as the service configures it, with one process and few threads."""

    def __init__(self, port: int) -> None:
        self._port = port
        super().__init__()

    def load_config(self) -> None:
        """The service's settings."""
        settings = Settings(data_dir=Path(), port=self._port, web_workers=1, web_threads=THREADS)
        for name, value in configuration(settings).items():
            if name != "worker_exit":
                self.cfg.set(name, value)

    def load(self) -> WSGIApplication:
        """The application above."""
        vars(connections)["SEND_SECONDS"] = SEND_SECONDS
        return misbehave


@contextmanager
def misbehaving(log: Path, *, files: int | None = None) -> Iterator[tuple[int, int]]:
    """Port and process id of a running one; its workers may open so many files."""
    port = free_port()
    command = [sys.executable, "-m", "tests.misbehaving", str(port)]
    if files is not None:
        command = ["/bin/sh", "-c", f'ulimit -S -n {files} && exec "$@"', "sh", *command]
    with log.open("wb") as output, subprocess.Popen(command, stderr=output) as process:
        try:
            wait_until(
                lambda: urlopen(f"http://127.0.0.1:{port}/", timeout=2).status, "it serves", log=log
            )
            yield port, process.pid
        finally:
            process.terminate()


if __name__ == "__main__":
    Misbehaving(int(sys.argv[1])).run()
