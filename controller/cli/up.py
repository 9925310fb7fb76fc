"""`controller up`: everything on one machine, in the foreground."""

from __future__ import annotations

import argparse
import fcntl
import os
import secrets
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from controller.cli.client import ProblemAnswer, ServiceClient
from controller.cli.exits import Exit
from controller.cli.supervisor import Child, StopAsked, Supervisor, python_child
from controller.errors import ControllerError, SetupFailed
from controller.settings import Settings, from_environment
from controller.storage.redis.embedded import EmbeddedValkey
from controller.telemetry import configure_logging

if TYPE_CHECKING:
    from controller.flow.bootstrap import Credentials

READY_SECONDS: Final = 60.0
READY_PAUSE_SECONDS: Final = 0.1


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "up", help="run everything on one machine: web, stream, worker and an embedded Valkey"
    )
    add_options(parser)
    parser.set_defaults(run=run)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that `up` and `demo` share."""
    parser.add_argument("--data-dir", type=Path, help="where everything is kept")
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port of console and API (default 8080)")
    parser.add_argument("--stream-port", type=int, help="port of the SDK stream (default 8081)")
    parser.add_argument("--web-workers", type=int, help="web processes (default 2)")


def run(arguments: argparse.Namespace) -> int:
    """Start, print where it is, and stay until SIGTERM or Ctrl-C."""
    settings = quieter(settings_from(arguments), watched=sys.stderr.isatty())
    with suppress(StopAsked), running(settings) as service:
        with suppress(SetupFailed):  # one that takes longer is announced all the same
            service.wait_until_ready()
        service.supervisor.go_on()
        _announce(service)
        service.supervisor.run()
    return Exit.OK


def settings_from(arguments: argparse.Namespace) -> Settings:
    """Environment first, then the options given."""
    given = {
        "data_dir": arguments.data_dir.absolute() if arguments.data_dir else None,
        "host": arguments.host,
        "port": arguments.port,
        "stream_port": arguments.stream_port,
        "web_workers": arguments.web_workers,
    }
    return replace(
        from_environment(), **{name: value for name, value in given.items() if value is not None}
    )


def quieter(settings: Settings, *, watched: bool) -> Settings:
    """Without a line for each request where a person watches: they would bury what was printed."""
    if not watched or "CONTROLLER_LOG_LEVEL" in os.environ:
        return settings
    return replace(settings, log_level="warning")


@dataclass(frozen=True, slots=True)
class RunningService:
    """A started service: its settings, its supervisor, and what its credentials file holds."""

    settings: Settings
    supervisor: Supervisor
    credentials: Credentials

    def wait_until_ready(self) -> None:
        """Until the console and the API answer.

        Raises
        ------
        SetupFailed
            If they do not within a minute.
        StopAsked
            If a stop was asked for meanwhile.
        """
        client = ServiceClient(replace(self.settings, public_url="").url, "")
        until = time.monotonic() + READY_SECONDS
        while True:
            self.supervisor.go_on()
            self.supervisor.tick()
            try:
                client.get("/readyz")
            except (ControllerError, ProblemAnswer) as problem:
                if time.monotonic() > until:
                    raise SetupFailed(f"The service did not become ready: {problem}") from problem
                time.sleep(READY_PAUSE_SECONDS)
            else:
                return


@contextmanager
def running(settings: Settings) -> Iterator[RunningService]:
    """Start everything; stop everything at the end of the block.

    The caller drives `supervisor.run()` or `supervisor.tick()`.

    Raises
    ------
    StopAsked
        If SIGTERM or Ctrl-C came before everything was started.
    SetupFailed
        With a sentence saying what stands in the way and what to do.
    """
    supervisor = Supervisor()
    supervisor.install_signals()
    from controller.wiring import prepare

    supervisor.go_on()
    configure_logging(settings.log_level)
    _make_data_dir(settings.data_dir)
    with only_one(settings.data_dir):
        _check_ports(settings)
        settings = replace(settings, secret_key=_secret(settings))
        try:
            if not settings.redis_url:
                supervisor.valkey = EmbeddedValkey(settings.data_dir / "valkey")
                supervisor.valkey.start()
                settings = replace(settings, redis_url=supervisor.valkey.url)
            supervisor.go_on()
            credentials = prepare(settings, own_redis=supervisor.valkey is not None)
            supervisor.go_on()
            supervisor.children = _children(settings)
            supervisor.start()
            yield RunningService(settings, supervisor, credentials)
        finally:
            supervisor.stop()


def _make_data_dir(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe = directory / f".probe-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as problem:
        raise SetupFailed(
            f"The data directory {directory} cannot be written ({problem.strerror}): "
            "make it writable, or name another with --data-dir."
        ) from problem


@contextmanager
def only_one(directory: Path) -> Iterator[None]:
    """One service a data directory: the lock is the kernel's, so it ends with the process."""
    with (directory / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            raise SetupFailed(
                f"Another service already runs on {directory}: stop it, or use another --data-dir."
            ) from problem
        yield


def _check_ports(settings: Settings) -> None:
    for name, port in (("--port", settings.port), ("--stream-port", settings.stream_port)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((settings.host, port))
            except OSError as problem:
                raise SetupFailed(
                    f"Cannot listen on {settings.host}:{port} ({problem.strerror}): "
                    f"stop what is there, or choose another port with {name}."
                ) from problem


def _secret(settings: Settings) -> str:
    """The given secret, or one made once and kept in the data directory."""
    if settings.secret_key:
        return settings.require_secret()
    path = settings.data_dir / "secret"
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
    return path.read_text().strip()


def _children(settings: Settings) -> list[Child]:
    environment = {
        "CONTROLLER_DATA_DIR": str(settings.data_dir),
        "CONTROLLER_HOST": settings.host,
        "CONTROLLER_PORT": str(settings.port),
        "CONTROLLER_STREAM_PORT": str(settings.stream_port),
        "CONTROLLER_WEB_WORKERS": str(settings.web_workers),
        "CONTROLLER_SECRET_KEY": settings.secret_key,
        "CONTROLLER_HEALTH_PORT": "0",
        "CONTROLLER_LOG_LEVEL": settings.log_level,
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
    }
    return [
        python_child(name, name, environment=environment) for name in ("web", "stream", "worker")
    ]


def _announce(service: RunningService) -> None:
    settings = service.settings
    lines = [f"  Console and API: {settings.url}"]
    password = service.credentials.new_password
    if password is not None:
        lines.append(f"  Sign in as admin with the password {password} (shown once).")
    if service.credentials.document["operators"]:
        lines.append(f"  Keys and tokens: {settings.data_dir / 'credentials.json'}")
    else:
        lines.append("  Operators and keys are those of the machine that started this database.")
    sys.stdout.write("\n".join(["", *lines, "  Ctrl-C stops the service.", "", ""]))
    sys.stdout.flush()
