"""One request to the application, and what every refusal has in common."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote_to_bytes

from controller.flow.actors import Scope
from controller.service.http.router import Route
from tests.web import Web

JSON = {"Content-Type": "application/json"}
EVENT = {
    "type": "outcome",
    "event_id": "e-1",
    "occurred_at": "2026-11-23T08:00:00Z",
    "unit": "u-1",
    "name": "cost",
    "value": 1.0,
    "slot": "late",
}
NOW = 1795424400.0
"""Just after that event happened."""

PASSED_ACCESS = {200, 201, 202, 204, 304, 307, 400, 404, 409, 412, 413, 415, 422, 428}
"""What a route answers to a nonsensical request once it has let the caller in."""


def send(web: Web, method: str, path: str, scope: Scope, **options: Any) -> tuple[int, str]:
    answer = web.call(method, path, web.keys[scope], **options)
    code = answer.json["code"] if answer.status_code >= 400 else ""
    if answer.status_code >= 400:
        assert answer.content_type == "application/problem+json"
        assert len(answer.data) < 2500
    return answer.status_code, code


def raw_address(path: str) -> dict[str, str]:
    where, _, query = path.partition("?")
    return {
        "RAW_URI": path,
        "REQUEST_URI": path,
        "PATH_INFO": unquote_to_bytes(where).decode("latin-1"),
        "QUERY_STRING": query,
    }


def address(route: Route) -> str:
    path = route.path
    for part in route.parts:
        for written in (f"<{part}>", f"<path:{part}>"):
            path = path.replace(written, "nothing-here")
    return path


def knock(web: Web, route: Route, who: str | None = None, **options: Any) -> Any:
    web.client.delete_cookie(web.runtime.sessions.cookie)
    return web.call(route.method, address(route), who, buffered=True, **options)


def refusal(answer: Any) -> str:
    """The code of a refusal; a protocol's own form of it names only the status."""
    by_status = {401: "unauthenticated", 403: "not_permitted"}
    document = answer.json
    return str(document["code"] if "code" in document else by_status[answer.status_code])


def each_route(web: Web) -> list[Route]:
    # A stream would hold the line open; it is knocked on with a rollout that does not exist.
    return list(web.router.routes)
