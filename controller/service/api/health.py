"""Health, telemetry, the OpenAPI document and the pages behind problem types."""

from __future__ import annotations

import logging
import os
from functools import cache
from typing import Any

from controller.errors import NotFound, Unavailable
from controller.service.api.openapi import document
from controller.service.http.authentication import DEFAULT_PROJECT
from controller.service.http.calls import Answer, Call, answer, encode
from controller.service.http.problems import every_error, status_of, title_of, type_uri
from controller.service.http.router import Route, Router, public
from controller.service.http.runtime import WebRuntime

log = logging.getLogger(__name__)


def health_routes(runtime: WebRuntime, router: Router) -> list[Route]:
    """The public routes."""

    def livez(_call: Call) -> Answer:
        return answer({"status": "alive"})

    said: str | None = None

    def readyz(_call: Call) -> Answer:
        nonlocal said
        why = _why_not_ready(runtime)
        if why != said:
            log.warning("readiness_changed", extra={"why": why or "ready"})
            said = why
        if why is not None:
            raise Unavailable(f"Not ready: {why}")
        return answer({"status": "ready"})

    def metrics(_call: Call) -> Answer:
        runtime.counts.measure()
        return Answer(
            body=_of_this_process(runtime.telemetry.exposition()).encode(),
            media="text/plain; version=0.0.4; charset=utf-8",
        )

    @cache
    def description() -> bytes:
        return encode(document(router.routes))

    def openapi(_call: Call) -> Answer:
        return Answer(body=description(), headers={"Cache-Control": "public, max-age=300"})

    return [
        Route(
            method="GET",
            path="/livez",
            name="livez",
            summary="Whether this process runs; depends on nothing",
            access=public(),
            handler=livez,
            hot=True,
        ),
        Route(
            method="GET",
            path="/readyz",
            name="readyz",
            summary="Whether this process would serve correct data now",
            access=public(),
            handler=readyz,
            hot=True,
            errors=(Unavailable,),
        ),
        Route(
            method="GET",
            path="/metrics",
            name="metrics",
            summary="Telemetry of this process for Prometheus",
            access=public(),
            handler=metrics,
            media="text/plain",
        ),
        Route(
            method="GET",
            path="/openapi.json",
            name="openapi",
            summary="This document",
            access=public(),
            handler=openapi,
        ),
        Route(
            method="GET",
            path="/problems/<code>",
            name="problem_type",
            summary="What a problem type means",
            access=public(),
            handler=_problem_type,
            errors=(NotFound,),
        ),
    ]


def _of_this_process(exposition: str) -> str:
    """Every sample with this process's id: any of the web processes may answer a scrape."""
    process = f'process="{os.getpid()}"'
    lines = []
    for line in exposition.splitlines():
        name, brace, rest = line.partition("{")
        if line.startswith("#"):
            lines.append(line)
        elif brace:
            lines.append(f"{name}{{{process},{rest}")
        else:
            name, _, value = line.partition(" ")
            lines.append(f"{name}{{{process}}} {value}")
    return "\n".join([*lines, ""])


def _why_not_ready(runtime: WebRuntime) -> str | None:
    try:
        why = runtime.ready()
        if why is None:
            runtime.rulesets.current(DEFAULT_PROJECT)
    except (Unavailable, NotFound) as error:
        return error.message
    return why


def _problem_type(call: Call) -> dict[str, Any]:
    for kind in every_error():
        if kind.code == call.path["code"]:
            return {
                "type": type_uri(kind.code),
                "code": kind.code,
                "status": status_of(kind),
                "title": title_of(kind),
                "help": " ".join((kind.__doc__ or "").split()),
            }
    raise NotFound("There is no such problem type.")
