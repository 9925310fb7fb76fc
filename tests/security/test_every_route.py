"""Every route, generated from the route table: who gets in, and what every answer carries."""

from __future__ import annotations

from typing import Any

import flask
import pytest

from controller.flow.actors import Role, Scope
from tests.security.knocking import EVENT, PASSED_ACCESS, address, each_route, knock, refusal
from tests.web import PASSWORD, SECRET, Web, serving

PUBLIC = {"/livez", "/readyz", "/metrics", "/openapi.json", "/problems/<code>", "/v1/tokens"}
PUBLIC_PAGES = ("/login", "/link/", "/static/")


def test_only_the_named_routes_are_open(web: Web) -> None:
    for route in each_route(web):
        is_open = route.access.kind == "public"
        named = route.path in PUBLIC or route.path.startswith(PUBLIC_PAGES)
        assert is_open == named, f"{route.method} {route.path} is open"


def test_without_credentials_nothing_else_answers(web: Web) -> None:
    for route in each_route(web):
        if route.access.kind == "public":
            continue
        answer = knock(web, route)
        where = f"{route.method} {route.path}: {answer.status_code}"
        if route.access.kind == "service":
            assert answer.status_code == 401, where
            assert refusal(answer) == "unauthenticated", where
            assert answer.headers["WWW-Authenticate"].startswith("Bearer"), where
        else:
            assert answer.status_code in {303, 401}, where
            if answer.status_code == 303:
                assert answer.headers["Location"].startswith("/login"), where


@pytest.mark.parametrize("scope", list(Scope))
def test_a_key_opens_exactly_the_routes_of_its_scope(web: Web, scope: Scope) -> None:
    for route in each_route(web):
        if route.access.kind == "public":
            continue
        answer = knock(web, route, web.keys[scope])
        where = f"{scope} on {route.method} {route.path}: {answer.status_code}"
        if route.access.kind == "console":
            assert answer.status_code in {303, 401}, where
        elif scope in route.access.scopes:
            assert answer.status_code in PASSED_ACCESS, where
        else:
            assert (answer.status_code, refusal(answer)) == (403, "not_permitted"), where


@pytest.mark.parametrize("role", list(Role))
def test_a_token_opens_exactly_the_routes_of_its_role(web: Web, role: Role) -> None:
    for route in each_route(web):
        if route.access.kind == "public":
            continue
        answer = knock(web, route, web.tokens[role])
        where = f"{role} on {route.method} {route.path}: {answer.status_code}"
        if route.access.kind == "console":
            assert answer.status_code in {303, 401}, where
        elif role in route.access.roles:
            # The use case may still refuse: it knows whose the thing is.
            assert answer.status_code in PASSED_ACCESS | {403}, where
        else:
            assert (answer.status_code, refusal(answer)) == (403, "not_permitted"), where


@pytest.mark.parametrize("role", [Role.VIEWER, Role.AUDITOR, Role.APPROVER])
def test_who_only_looks_or_approves_writes_no_evidence(web: Web, role: Role) -> None:
    told = {"events": [EVENT]}
    asked = {"slot": "late", "unit": "u-1"}
    context = {"context": {"targetingKey": "u-1"}}
    for path, body in (
        ("/v1/events", told),
        ("/v1/assign", asked),
        ("/v1/assign/batch", {"requests": [asked]}),
        ("/v1/expose", {"tokens": ["t"]}),
        ("/ofrep/v1/evaluate/flags/late", context),
        ("/ofrep/v1/evaluate/flags", context),
    ):
        for who, refused in ((role, True), (Role.OPERATOR, False)):
            answer = web.call("POST", path, web.tokens[who], json=body)
            assert (answer.status_code == 403) is refused, f"{who} on {path}: {answer.status_code}"


def test_votes_are_for_people(web: Web) -> None:
    route = next(route for route in web.router.routes if route.name == "vote")
    assert not route.access.scopes
    assert route.access.roles == {Role.APPROVER}
    for key in web.keys.values():
        assert knock(web, route, key).status_code == 403


def test_a_session_cookie_opens_no_api_route(web: Web) -> None:
    web.operator("cookie-holder", *Role, password=PASSWORD)
    with web.store.reading() as work:
        operator = work.people.operator("cookie-holder")
    assert operator is not None
    cookie = web.runtime.sessions.start(operator).partition(";")[0].partition("=")[2]
    web.client.set_cookie(web.runtime.sessions.cookie, cookie)
    assert web.call("GET", "/").status_code == 200, "the cookie itself is good"
    for route in each_route(web):
        if route.access.kind == "service":
            answer = web.call(route.method, address(route))
            assert answer.status_code == 401, f"{route.method} {route.path}"
    web.client.delete_cookie(web.runtime.sessions.cookie)


def test_every_answer_carries_the_security_headers(web: Web) -> None:
    asked = [knock(web, route, web.keys[Scope.ADMIN]) for route in each_route(web)]
    asked += [knock(web, route) for route in each_route(web)]
    asked += [web.call("GET", path) for path in ("/nothing", "/v1/..", "/v1/%00", "/v1//slots")]
    asked += [web.call("BREW", "/livez"), web.call("GET", "/livez", headers={"Host": "evil.test"})]
    for answer in asked:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy, answer
        assert "unsafe" not in policy, answer
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] in {"no-referrer", "same-origin"}
        assert "frame-ancestors 'none'" in policy
        assert "Cache-Control" in answer.headers
        assert "Server" not in answer.headers or "gunicorn" not in answer.headers["Server"]
        assert answer.headers.get("Access-Control-Allow-Origin") is None


def test_every_refusal_of_the_api_is_a_problem(web: Web) -> None:
    for route in each_route(web):
        if not route.path.startswith("/v1/"):
            continue
        for who in (None, web.keys[Scope.STOP], web.keys[Scope.ADMIN]):
            answer = knock(web, route, who)
            if answer.status_code >= 400:
                problem = answer.json
                assert answer.content_type == "application/problem+json", answer
                assert problem["status"] == answer.status_code
                assert problem["type"] == f"/problems/{problem['code']}"
                assert {"title", "detail", "instance"} <= problem.keys()


def test_a_view_that_went_around_the_router_is_refused(web: Web) -> None:
    app = web.client.application
    app._got_first_request = False
    app.add_url_rule("/around", "around", lambda: "open", methods=["GET"])
    app._got_first_request = True
    answer = web.call("GET", "/around", web.keys[Scope.ADMIN])
    assert (answer.status_code, answer.json["code"]) == (404, "route_not_found")
    with app.test_request_context("/around"):
        assert flask.request.endpoint == "around"


def test_no_secret_is_written_anywhere(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with serving(tmp_path) as web:
        web.define()
        for route in web.router.routes:
            for who in (*web.keys.values(), *web.tokens.values()):
                knock(web, route, who)
        secrets = [text.split("_", 2)[2] for text in web.keys.values()]
        secrets += [text.removeprefix("op_") for text in web.tokens.values()]
        secrets.append(SECRET)
        metrics = web.call("GET", "/metrics").text
    written = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    for secret in secrets:
        assert secret not in caplog.text
        assert secret not in metrics
        assert secret.encode() not in written


def test_https_sets_hsts_and_a_host_bound_cookie(tmp_path: Any) -> None:
    with serving(tmp_path, public_url="https://controller.example") as web:
        answer = web.call("GET", "/livez")
        assert answer.headers["Strict-Transport-Security"].startswith("max-age=")
        assert web.runtime.sessions.cookie.startswith("__Host-")
        web.operator("somebody", password=PASSWORD)
        with web.store.reading() as work:
            operator = work.people.operator("somebody")
        assert operator is not None
        cookie = web.runtime.sessions.start(operator)
        assert "; Secure" in cookie
        assert "; HttpOnly" in cookie
        assert "; SameSite=Lax" in cookie
