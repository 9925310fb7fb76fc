"""The real web application over a world, on a free loopback port."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from werkzeug.serving import WSGIRequestHandler, make_server

from controller.service.http.runtime import WebRuntime
from controller.service.web.app import create_app
from controller.settings import Settings
from controller.storage.memory.pins import MemoryPins
from controller.storage.sql.inbox import SqlInbox
from controller.storage.sql.ingest import SqlIngest
from controller.telemetry import Telemetry
from tests.browser.world import World


class Quiet(WSGIRequestHandler):
    """Keeps connections open, as the real server does, and logs nothing."""

    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002
        """Nothing: the door logs every request."""


def runtime_of(world: World, folder: Path) -> WebRuntime:
    """What the web process is made of, over this world."""
    return WebRuntime(
        settings=Settings(data_dir=folder, secret_key=secrets.token_urlsafe(32), web_workers=1),
        store=world.store,
        inbox=SqlInbox(world.database),
        ingest=SqlIngest(world.database),
        pins=MemoryPins(),
        notes=None,
        telemetry=Telemetry(),
        ready=lambda: None,
    )


@contextmanager
def served(world: World, folder: Path) -> Iterator[str]:
    """The address of the console while the block runs."""
    app = create_app(runtime_of(world, folder))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
