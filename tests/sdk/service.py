"""A small real HTTP service for SDK tests: rulesets, notes and events, with faults to switch on."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from controller.assignment.ruleset import Ruleset, digest
from controller.assignment.signature import SIGNATURE_HEADER, sign_ruleset, split_key
from tests.processes import PATIENCE_SECONDS

KEY = "rc_test01_0123456789abcdefghijklmn"


class Service:
    """Listens on a free loopback port. `fault` is asked before every answer; it may take over."""

    def __init__(self, ruleset: Ruleset | None = None, *, port: int = 0, key: str = KEY) -> None:
        self.ruleset = ruleset
        self.key = key
        self.batches: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.requests: list[tuple[str, str]] = []
        self.fault: Callable[[Handler], bool] = lambda _: False
        self.streams: list[Handler] = []
        self.stopping = threading.Event()
        self.changed = threading.Condition()
        service = self

        class Bound(Handler):
            """A handler of this service."""

        Bound.service = service
        self._server = Server(("127.0.0.1", port), Bound)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def events(self) -> list[dict[str, Any]]:
        """Every event of every distinct batch, as a service that counts a batch once sees them."""
        distinct = {json.loads(body)["batch_id"]: body for body in self.batches}
        return [event for body in distinct.values() for event in json.loads(body)["events"]]

    def publish(self, ruleset: Ruleset, *, note: bool = True) -> None:
        self.ruleset = ruleset
        if note:
            data = json.dumps({"version": ruleset.version}).encode()
            for handler in list(self.streams):
                with suppress(OSError):  # a client that has just gone away
                    handler.send_note(data)

    def wait(self, condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> bool:
        return wait_for(condition, seconds)

    def close(self) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._server.drop_connections()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def wait_for(condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return condition()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what these tests are about."""

    def drop_connections(self) -> None:
        """End every open connection, as a killed process would."""
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    service: Service

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self._note_request()
        if self.service.fault(self):
            return
        known = self.headers.get("Authorization") == f"Bearer {self.service.key}"
        if not known and not self.path.startswith("/elsewhere"):
            self.answer(401, b'{"code": "unauthenticated"}')
            return
        if self.path == "/v1/ruleset":
            self._ruleset()
        elif self.path == "/v1/ruleset/stream":
            self.answer(307, b"", Location="/elsewhere?ticket=t")
        elif self.path == "/elsewhere?ticket=t" and "Authorization" not in self.headers:
            self._stream()
        else:
            self.answer(404, b'{"code": "not_found"}')

    def do_POST(self) -> None:
        self._note_request()
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.service.fault(self):
            return
        if self.headers.get("Authorization") != f"Bearer {self.service.key}":
            self.answer(401, b'{"code": "unauthenticated"}')
            return
        self.accept()

    def accept(self) -> None:
        """Take the batch in and say so."""
        self.service.batches.append(self.body)
        self.service.headers.append(dict(self.headers.items()))
        events = json.loads(self.body)["events"]
        rejected = [
            {"index": index, "code": "unknown_slot", "detail": "no such slot"}
            for index, event in enumerate(events)
            if event.get("slot") == "rejected"
        ]
        document = {"accepted": len(events), "duplicates": 0, "rejected": rejected}
        self.answer(202, json.dumps(document).encode())

    def answer(self, status: int, body: bytes, **headers: str) -> bool:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        return True

    def send_note(self, data: bytes) -> None:
        self.wfile.write(b"event: ruleset\ndata: " + data + b"\n\n")
        self.wfile.flush()

    def answer_ruleset(self, body: bytes, etag: str, signature: str) -> None:
        if self.headers.get("If-None-Match") == f'"{etag}"':
            self.answer(304, b"", ETag=f'"{etag}"')
            return
        self.send_response(200)
        if "gzip" in self.headers.get("Accept-Encoding", ""):
            body = gzip.compress(body)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("ETag", f'"{etag}"')
        self.send_header(SIGNATURE_HEADER, signature)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _note_request(self) -> None:
        self.service.requests.append((self.command, self.path))

    def _ruleset(self) -> None:
        ruleset = self.service.ruleset
        if ruleset is None:
            self.answer(503, b'{"code": "unavailable"}')
            return
        body = ruleset.encode()
        signature = sign(ruleset, self.service.key)
        self.answer_ruleset(body, digest(body), signature)

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b": hello\n\n")
        self.wfile.flush()
        self.service.streams.append(self)
        try:
            while not self.service.stopping.wait(0.05):
                pass
        finally:
            self.service.streams.remove(self)
        self.close_connection = True


def hang(handler: Handler) -> bool:
    """A fault: say nothing and keep the connection."""
    handler.service.stopping.wait(30)
    handler.close_connection = True
    return True


def sign(ruleset: Ruleset, key: str = KEY) -> str:
    _, _, signing = split_key(key)
    return sign_ruleset(
        signing,
        deployment=ruleset.deployment,
        version=ruleset.version,
        digest=digest(ruleset.encode()),
    )
