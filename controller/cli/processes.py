"""`controller web | stream | worker | migrate`: one process each, as containers run them."""

from __future__ import annotations

import argparse

from controller.cli.exits import Exit
from controller.settings import from_environment
from controller.telemetry import configure_logging


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the four commands."""
    for name, run, what in (
        ("web", _web, "run the console and the API (gunicorn)"),
        ("stream", _stream, "run the process that streams notes to SDKs"),
        ("worker", _worker, "run the loops: aggregate, look, reconcile, send"),
        ("migrate", _migrate, "bring the database to this version's schema"),
    ):
        commands.add_parser(name, help=what).set_defaults(run=run)


def _web(_arguments: argparse.Namespace) -> int:
    from controller.service.web.server import serve
    from controller.wiring import claim_redis

    settings = from_environment()
    configure_logging(settings.log_level)
    settings.require_secret()
    claim_redis(settings)
    serve(settings)
    return Exit.OK


def _stream(_arguments: argparse.Namespace) -> int:
    from controller.service.stream.runtime import StreamRuntime
    from controller.service.stream.server import serve

    settings = from_environment()
    configure_logging(settings.log_level)
    serve(StreamRuntime.from_settings(settings))
    return Exit.OK


def _worker(_arguments: argparse.Namespace) -> int:
    from controller.service.worker.loops import run
    from controller.service.worker.steps import worker_runtime
    from controller.wiring import claim_redis

    settings = from_environment()
    configure_logging(settings.log_level)
    settings.require_secret()
    claim_redis(settings)
    run(worker_runtime(settings))
    return Exit.OK


def _migrate(_arguments: argparse.Namespace) -> int:
    from controller.wiring import migrate

    settings = from_environment()
    configure_logging(settings.log_level)
    migrate(settings)
    return Exit.OK
