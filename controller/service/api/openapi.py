"""OpenAPI 3.1 from the route table: what is served is what is described."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from typing import Any, Final

import msgspec

from controller.errors import (
    ControllerError,
    IdempotencyMismatch,
    NotPermitted,
    Unauthenticated,
    Unavailable,
)
from controller.experiments.schema import metric_schema, policy_schema, slot_schema
from controller.service.http.loader import JSON_TYPES
from controller.service.http.problems import MEDIA, status_of, type_uri
from controller.service.http.refusals import (
    BadPath,
    BodyTooLarge,
    InProgress,
    MalformedJson,
    RateLimited,
    UnknownField,
    UnsupportedMediaType,
)
from controller.service.http.router import Route

REFERENCE: Final = "#/components/schemas/{name}"
ALWAYS: Final[tuple[type[ControllerError], ...]] = (RateLimited, BadPath, UnknownField)
BEHIND_KEY: Final[tuple[type[ControllerError], ...]] = (Unauthenticated, NotPermitted, Unavailable)
WITH_BODY: Final[tuple[type[ControllerError], ...]] = (
    MalformedJson,
    BodyTooLarge,
    UnsupportedMediaType,
)
DEFINITIONS: Final[Mapping[str, tuple[str, Callable[[], dict[str, Any]]]]] = {
    "put_metric": ("MetricDefinition", metric_schema),
    "put_slot": ("SlotDefinition", slot_schema),
    "put_policy": ("PolicyDefinition", policy_schema),
}
"""Bodies that people write, whose readers are in `experiments`, by the name of the route."""
PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "description": "RFC 9457 problem details with a stable `code`.",
    "required": ["type", "title", "status", "detail", "instance", "code"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "code": {"type": "string"},
    },
    "additionalProperties": True,
}


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """The OpenAPI 3.1 document of every documented route."""
    shown = [route for route in routes if route.documented]
    types = {id(kind): kind for route in shown for kind in _types(route)}
    schemas, components = msgspec.json.schema_components(
        list(types.values()), ref_template=REFERENCE
    )
    schema_of = dict(zip(types, schemas, strict=True))
    named = {route.name: _component(schema_of[id(route.query)]) for route in shown if route.query}
    queries = {name: components[component] for name, component in named.items()}
    for component in set(named.values()):
        del components[component]
    paths: dict[str, dict[str, Any]] = {}
    for route in shown:
        operations = paths.setdefault(route.template, {})
        operations[route.method.lower()] = _operation(route, schema_of, queries)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "rollout-controller",
            "version": metadata.version("rollout-controller"),
            "summary": "Champion/challenger model rollouts, decided by evidence and by people.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": {
                **components,
                **{name: drawn() for name, drawn in DEFINITIONS.values()},
                "Problem": PROBLEM,
            },
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A service key (`rc_…`) or an operator's token (`op_…`).",
                }
            },
        },
    }


def _types(route: Route) -> list[Any]:
    return [kind for kind in (route.query, route.body, route.answer) if kind is not None]


def _component(schema: Mapping[str, Any]) -> str:
    return str(schema.get("$ref", "")).rpartition("/")[2]


def _operation(
    route: Route, schema_of: Mapping[int, Any], queries: Mapping[str, Any]
) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "description": " ".join(filter(None, (route.description, _who(route)))),
        "parameters": [
            *_path_parameters(route),
            *_query_parameters(queries.get(route.name)),
            *_headers(route),
        ],
        "responses": _responses(route, schema_of),
        "security": [{"bearer": []}] if route.access.kind == "service" else [],
    }
    if route.reads != "nothing":
        schema = schema_of[id(route.body)] if route.body else _definition(route)
        media = {kind: {"schema": schema} for kind in _media(route)}
        operation["requestBody"] = {"required": not route.optional, "content": media}
    return operation


def _definition(route: Route) -> Mapping[str, Any]:
    if route.name not in DEFINITIONS:
        return {"type": "object"}
    return {"$ref": REFERENCE.format(name=DEFINITIONS[route.name][0])}


def _who(route: Route) -> str:
    if route.access.kind == "public":
        return "Open to anybody."
    scopes = ", ".join(sorted(scope.value for scope in route.access.scopes))
    roles = ", ".join(sorted(role.value for role in route.access.roles))
    keys = f"Key scopes: {scopes}." if scopes else "No key; operators' tokens alone."
    return f"{keys} Roles: {roles}."


def _media(route: Route) -> list[str]:
    if route.reads == "definition":
        return [*sorted(JSON_TYPES), "application/yaml"]
    return ["application/x-www-form-urlencoded"] if route.reads == "form" else sorted(JSON_TYPES)


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "minLength": 1, "maxLength": 512},
        }
        for name in route.parts
    ]


def _query_parameters(described: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    if described is None:
        return []
    required = described.get("required", ())
    return [
        {"name": name, "in": "query", "required": name in required, "schema": part}
        for name, part in described.get("properties", {}).items()
    ]


def _headers(route: Route) -> list[dict[str, Any]]:
    named = []
    if route.idempotent:
        named.append(("Idempotency-Key", "The same key and body again give the same answer.", 200))
    if route.if_match:
        named.append(("If-Match", "The ETag you looked at; needed to raise exposure.", 64))
    if route.access.kind == "service" and route.documented:
        named.append(("Controller-Project", "The project, for operators' tokens.", 64))
    return [
        {
            "name": name,
            "in": "header",
            "required": False,
            "description": what,
            "schema": {"type": "string", "maxLength": most},
        }
        for name, what, most in named
    ]


def _responses(route: Route, schema_of: Mapping[int, Any]) -> dict[str, Any]:
    good: dict[str, Any] = {"description": route.summary}
    if route.status not in (204, 307):
        schema = schema_of[id(route.answer)] if route.answer else {}
        good["content"] = {route.media: {"schema": schema}}
    answers: dict[str, Any] = {str(route.status): good}
    by_status: dict[int, list[type[ControllerError]]] = {}
    for error in _errors(route):
        by_status.setdefault(status_of(error), []).append(error)
    for status, errors in sorted(by_status.items()):
        codes = ", ".join(f"`{type_uri(code)}`" for code in sorted({e.code for e in errors}))
        answers[str(status)] = {
            "description": f"Refused: {codes}.",
            "content": {MEDIA: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    return answers


def _errors(route: Route) -> list[type[ControllerError]]:
    found = [*ALWAYS, *route.errors]
    if route.access.kind == "service":
        found += BEHIND_KEY
    if route.reads != "nothing":
        found += WITH_BODY
    if route.idempotent:
        found += [IdempotencyMismatch, InProgress]
    return found
