"""Nothing is served that was not declared, once, with its access."""

from __future__ import annotations

import flask
import pytest

from controller.flow.actors import Role, Scope
from controller.service.http.calls import Answer, Call
from controller.service.http.cors import FRESH_SECONDS, Origins
from controller.service.http.router import Route, Router, console, people, public, service
from tests.web import Web


def handler(_call: Call) -> Answer:
    return Answer(body=b"{}")


def route(**changes: object) -> Route:
    plain = {
        "method": "GET",
        "path": "/x",
        "name": "x",
        "summary": "x",
        "access": public(),
        "handler": handler,
    }
    return Route(**{**plain, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("changes", [{"path": "/y"}, {"name": "y"}])
def test_a_name_or_an_address_is_taken_once(changes: dict[str, object]) -> None:
    router = Router()
    router.add(route())
    with pytest.raises(ValueError, match="registered twice"):
        router.add(route(**changes))


def test_a_hot_path_has_a_part_at_its_end_at_most() -> None:
    with pytest.raises(ValueError, match="hot"):
        Router().add(route(path="/x/<y>/z", hot=True))
    router = Router()
    router.add(route(path="/x/<y>", hot=True), route(path="/x", name="all", hot=True))
    assert set(router.hot) == {("GET", "/x/"), ("GET", "/x")}


def test_parts_and_template_come_from_the_path() -> None:
    made = route(path="/v1/a/<b>/<path:sha256>/c")
    assert made.parts == ("b", "sha256")
    assert made.template == "/v1/a/{b}/{sha256}/c"


def test_the_admin_scope_opens_every_service_route_and_no_vote() -> None:
    assert Scope.ADMIN in service(Scope.READ).scopes
    assert people(Role.APPROVER).scopes == frozenset()
    assert console().roles == frozenset(Role)


def test_flask_serves_nothing_of_its_own() -> None:
    app = flask.Flask(__name__, static_folder=None)
    router = Router()
    router.add(route())
    router.install(app, lambda *_: flask.Response(b"declared"))
    app.add_url_rule("/y", "undeclared", lambda: "open")
    client = app.test_client()
    assert client.get("/x").data == b"declared"
    assert client.get("/y").status_code == 404
    assert client.options("/x").status_code == 405
    assert client.get("//x").status_code == 404


# ---------------------------------------------------------------- websites


def preflight(web: Web, origin: str, path: str = "/v1/assign") -> flask.Response:
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    answer: flask.Response = web.call("OPTIONS", path, headers=headers)
    return answer


def test_only_websites_of_living_keys_get_a_grant_and_only_to_evaluate(web: Web) -> None:
    web.define(clients=True)
    home = "https://shop.example"
    assert preflight(web, home).status_code == 405
    key = web.key(Scope.EVALUATE, origins=(home,))
    origins = Origins(web.store, clock=lambda: FRESH_SECONDS * 2)
    environ = {"HTTP_ORIGIN": home, "PATH_INFO": "/v1/assign"}
    assert ("Access-Control-Allow-Origin", home) in origins.grant(environ)
    assert origins.grant({**environ, "HTTP_ORIGIN": "https://evil.test"}) == [("Vary", "Origin")]
    assert origins.grant({**environ, "PATH_INFO": "/v1/slots"}) == []
    assert origins.grant({"PATH_INFO": "/v1/assign"}) == []
    web.client.application.wsgi_app._origins = origins  # type: ignore[attr-defined]
    granted = preflight(web, home)
    assert granted.status_code == 204
    assert granted.headers["Access-Control-Allow-Origin"] == home
    assert "Access-Control-Allow-Credentials" not in granted.headers
    assert preflight(web, home, "/v1/slots").status_code == 405
    asked = {"slot": "late", "unit": "u"}
    answer = web.call("POST", "/v1/assign", key, headers={"Origin": home}, json=asked)
    assert answer.headers["Access-Control-Allow-Origin"] == home
