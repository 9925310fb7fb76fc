"""The worker's own small HTTP door: `/livez`, `/readyz` and `/metrics`, nothing else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from controller.telemetry import Telemetry

SILENT_SECONDS = 60.0


@dataclass(slots=True)
class Health:
    """Whether the loop still turns, and whether it can do its work."""

    ready: Callable[[], str | None]
    telemetry: Telemetry
    _beat: float = field(default_factory=time.monotonic)

    def beat(self) -> None:
        """The loop has come round."""
        self._beat = time.monotonic()

    def answer(self, path: str) -> tuple[int, str]:
        """Status and text of one path."""
        silent = time.monotonic() - self._beat
        if path == "/livez":
            return (
                (200, "ok\n") if silent < SILENT_SECONDS else (503, f"silent for {silent:.0f} s\n")
            )
        if path == "/readyz":
            why = self.ready()
            return (200, "ready\n") if why is None else (503, f"{why}\n")
        if path == "/metrics":
            return 200, self.telemetry.exposition()
        return 404, "not found\n"


@contextmanager
def serve_health(health: Health, host: str, port: int) -> Iterator[int]:
    """Answer on `host:port` (0: any free port) while the block runs; yields the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, text = health.answer(self.path)
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Probes are not news."""

    server = ThreadingHTTPServer((host, port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="health", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
