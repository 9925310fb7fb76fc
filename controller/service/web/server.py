"""gunicorn with threads around the application: one runtime a worker, made after the fork."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]
from gunicorn.glogging import Logger  # type: ignore[import-untyped]

from controller.service.http.runtime import WebRuntime
from controller.settings import Settings
from controller.telemetry import Telemetry
from controller.wiring import parts

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

MOST_CONNECTIONS: Final = 1000
LEAST_CONNECTIONS: Final = 300
OWN_FILES: Final = 256
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - gunicorn makes its files safely


class ServiceLog(Logger):  # type: ignore[misc]
    """gunicorn's own lines, written like every other line of the service."""

    def setup(self, cfg: Any) -> None:
        """Keep the level and drop the handlers: the root logger writes JSON."""
        super().setup(cfg)
        for part in (self.error_log, self.access_log):
            part.handlers.clear()
            part.propagate = True


class Server(BaseApplication):  # type: ignore[misc]
    """gunicorn configured by `Settings` alone: no file, no environment of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._runtime: WebRuntime | None = None
        super().__init__()

    def load_config(self) -> None:
        """Threads, bounded request lines and headers, a drain shorter than any grace period."""
        for name, value in configuration(self._settings).items():
            self.cfg.set(name, value)

    def load(self) -> WSGIApplication:
        """The application, in the worker process."""
        from controller.service.web.app import create_app

        self._runtime = web_runtime(self._settings)
        self._runtime.counts.start()
        return create_app(self._runtime)

    def dismiss(self) -> None:
        """The worker process stops: whoever waits for something to happen is sent away now."""
        if self._runtime is not None:
            self._runtime.seats.close()

    def leave(self) -> None:
        """The worker process ends: what waits in memory is written first."""
        if self._runtime is not None:
            self._runtime.close()


def web_runtime(settings: Settings) -> WebRuntime:
    """The parts of one worker process, made after the fork."""
    made = parts(settings)
    return WebRuntime(
        settings=settings,
        store=made.store,
        inbox=made.inbox,
        ingest=made.ingest,
        pins=made.pins,
        notes=made.notes,
        checked=made.checked,
        telemetry=Telemetry(),
        ready=made.ready,
    )


def serve(settings: Settings) -> None:
    """Run until SIGTERM; in-flight requests are finished first."""
    Server(settings).run()


def configuration(settings: Settings) -> dict[str, Any]:
    """gunicorn's settings."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return {
        "bind": [f"{host}:{settings.port}"],
        "worker_class": "controller.service.web.worker.Worker",
        "workers": settings.web_workers,
        "threads": settings.web_threads,
        "worker_connections": _most_connections(),
        "keepalive": 5,
        "timeout": 30,
        "graceful_timeout": 10,
        "worker_tmp_dir": str(SHARED_MEMORY) if SHARED_MEMORY.is_dir() else None,
        "limit_request_line": 8190,
        "limit_request_fields": 100,
        "limit_request_field_size": 8190,
        "forwarded_allow_ips": "",
        "preload_app": False,
        "worker_exit": _leave,
        "proc_name": "controller-web",
        "loglevel": "warning",
        "logger_class": ServiceLog,
        "control_socket_disable": True,
    }


def _most_connections() -> int:
    """As many as files may be open, less those that a worker needs for itself."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(LEAST_CONNECTIONS, min(MOST_CONNECTIONS, files - OWN_FILES))


def _leave(_arbiter: Any, worker: Any) -> None:
    """gunicorn's hook in a worker process that ends."""
    worker.app.leave()
