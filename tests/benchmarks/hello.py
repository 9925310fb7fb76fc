"""A web process that only says hello: the floor under every figure of `bench_requests`.

The service's own gunicorn settings around an application of three lines, with gunicorn's threaded
worker or with ours.

    python -m tests.benchmarks.hello PORT WORKER_CLASS
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]

from controller.service.web.server import configuration
from controller.settings import Settings
from tests.processes import free_port, wait_until

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

BARE = "gunicorn.workers.gthread.ThreadWorker"
OURS = "controller.service.web.worker.Worker"
SAID = b'{"status":"alive"}'


def say_hello(environ: WSGIEnvironment, start: StartResponse) -> tuple[bytes]:
    """Reads the body as an application must, and answers."""
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(SAID)))]
    start("200 OK", headers)
    return (SAID,)


class Hello(BaseApplication):  # type: ignore[misc]
    """gunicorn as the service configures it, but for the worker's class and what it knows of us."""

    def __init__(self, port: int, worker_class: str) -> None:
        self._port, self._class = port, worker_class
        super().__init__()

    def load_config(self) -> None:
        """The service's settings."""
        settings = Settings(data_dir=Path(), port=self._port)
        ours: dict[str, Any] = configuration(settings)
        del ours["worker_exit"]
        for name, value in {**ours, "worker_class": self._class}.items():
            self.cfg.set(name, value)

    def load(self) -> WSGIApplication:
        """The three lines."""
        return say_hello


@contextmanager
def greeting(worker_class: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """The port and the process of a running floor."""
    port = free_port()
    command = [sys.executable, "-m", "tests.benchmarks.hello", str(port), worker_class]
    with subprocess.Popen(command) as process:
        try:
            wait_until(lambda: urlopen(f"http://127.0.0.1:{port}/", timeout=2).status, "hello")
            yield port, process
        finally:
            process.terminate()


if __name__ == "__main__":
    Hello(int(sys.argv[1]), sys.argv[2]).run()
