"""Random requests to every route: no 5xx, no status that the OpenAPI document lacks (I12)."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.flow.actors import Role, Scope
from controller.service.http.router import Route
from tests.security.knocking import raw_address
from tests.web import METRIC, SLOT, Web

RUNS = settings(
    max_examples=20,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
TEXT = st.one_of(
    st.sampled_from(["late", "cost", "cautious", "champion", "late", "cost"]),
    st.sampled_from(["", "../x", "%00", "ü", "x" * 300]),
    st.text(max_size=12),
)
QUERY: st.SearchStrategy[dict[str, str]] = st.one_of(
    st.just({}),
    st.just({}),
    st.just({}),
    st.dictionaries(st.sampled_from(["after", "limit", "x"]), TEXT, max_size=2),
)
SCALAR = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    TEXT,
)
DEFINITIONS: list[dict[str, Any]] = [
    METRIC,
    SLOT,
    {"ramp": [{"enrolled": 0.5, "dwell": "1h"}], "oec": {"horizon": 1000}},
    {"unit": "departure", "share": "5%", "tag": "cost"},
    {"unit": "departure", "slots": {"late": 0.5}},
    {"arm": "champion"},
]
JSON = st.recursive(
    SCALAR,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)


def documented(web: Web) -> list[Route]:
    return [
        route
        for route in web.router.routes
        if route.documented and route.media != "text/event-stream"
    ]


def body_like(schema: Any, schemas: Any) -> st.SearchStrategy[Any]:
    """Bodies that are nearly right: known fields with values of any kind."""
    if "$ref" in schema:
        return body_like(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    fields = schema.get("properties", {})
    if not fields:
        return NEARLY_DEFINED
    values = {name: of_type(part, schemas) for name, part in fields.items()}
    required = {name: values.pop(name) for name in schema.get("required", [])}
    return st.fixed_dictionaries(required, optional=values).flatmap(mutated)


def mutated(document: dict[str, Any]) -> st.SearchStrategy[Any]:
    """The document as it is, with one part changed, or with one part taken out."""
    if not document:
        return st.just(document)
    key = st.sampled_from(sorted(document))
    return st.one_of(
        st.just(document),
        st.builds(lambda name, value: {**document, name: value}, key, JSON),
        key.map(lambda name: {part: document[part] for part in document if part != name}),
    )


NEARLY_DEFINED = st.one_of(JSON, st.sampled_from(DEFINITIONS).flatmap(mutated))


def of_type(schema: Any, schemas: Any) -> st.SearchStrategy[Any]:
    if "$ref" in schema:
        return body_like(schema, schemas)
    if "anyOf" in schema:
        return st.one_of([of_type(part, schemas) for part in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kinds: dict[str, st.SearchStrategy[Any]] = {
        "string": TEXT,
        "integer": st.integers(-5, 500),
        "number": st.floats(allow_nan=False, allow_infinity=False, width=32),
        "boolean": st.booleans(),
        "null": st.none(),
        "object": st.dictionaries(TEXT, JSON, max_size=3),
    }
    if schema.get("type") == "array":
        return st.lists(of_type(schema.get("items", {}), schemas), max_size=3)
    return kinds.get(schema.get("type", ""), JSON)


@pytest.fixture(scope="module")
def description(web: Web) -> Any:
    return web.call("GET", "/openapi.json").json


def check(web: Web, description: Any, route: Route, answer: Any) -> None:
    operation = description["paths"][route.template][route.method.lower()]
    where = f"{route.method} {answer.request.path}: {answer.status_code} {answer.data[:300]!r}"
    assert answer.status_code < 500, where
    undocumented = {"304", "404", "405", "414"}  # of addresses, not of operations
    assert str(answer.status_code) in {*operation["responses"], *undocumented}, where
    if answer.status_code >= 400 and route.refuse is None:
        assert answer.json["code"], where


@RUNS
@given(data=st.data())
def test_nearly_right_requests(web: Web, description: Any, data: st.DataObject) -> None:
    schemas = description["components"]["schemas"]
    for route in documented(web):
        path = route.path
        for part in route.parts:
            value = quote(data.draw(TEXT) or "x", safe="")
            path = path.replace(f"<{part}>", value)
        query = data.draw(QUERY)
        options: dict[str, Any] = {}
        if route.reads in {"json", "definition", "bytes"}:
            media = description["paths"][route.template][route.method.lower()]["requestBody"]
            schema = media["content"]["application/json"]["schema"]
            body = data.draw(
                NEARLY_DEFINED if route.reads == "definition" else body_like(schema, schemas)
            )
            options = {
                "data": json.dumps(body).encode("utf-8", "surrogatepass"),
                "content_type": "application/json",
            }
        who = web.tokens[Role.ADMIN] if not route.access.scopes else web.keys[Scope.ADMIN]
        headers = {"If-Match": data.draw(st.sampled_from(['"1"', "*", "x", '"999999999"']))}
        answer = web.call(
            route.method,
            f"{path}?{urlencode(query)}",
            who,
            headers=headers,
            buffered=True,
            **options,
        )
        check(web, description, route, answer)


@RUNS
@given(raw=st.binary(max_size=300))
def test_any_bytes_as_a_body(web: Web, description: Any, raw: bytes) -> None:
    for route in documented(web):
        if route.reads == "nothing":
            continue
        path = route.path
        for part in route.parts:
            path = path.replace(f"<{part}>", "late")
        who = web.tokens[Role.APPROVER] if not route.access.scopes else web.keys[Scope.ADMIN]
        for media in ("application/json", "application/yaml", ""):
            answer = web.call(route.method, path, who, data=raw, content_type=media, buffered=True)
            check(web, description, route, answer)


@settings(RUNS, max_examples=200)
@given(path=st.text(max_size=60), query=st.text(max_size=40))
def test_any_address(web: Web, path: str, query: str) -> None:
    raw = "/" + quote(path, safe="/%;=.~", encoding="utf-8", errors="surrogatepass")
    address = raw_address(f"{raw}?{quote(query, safe='&=;', errors='surrogatepass')}")
    answer = web.call("GET", "/", web.keys[Scope.ADMIN], environ_overrides=address)
    assert answer.status_code < 500, (path, query)
