"""Every form of the console, from the route table: no token, no effect."""

from __future__ import annotations

from typing import Any

import pytest

from controller.flow.actors import Role
from controller.service.http.router import SAFE, Route
from tests.security.knocking import address
from tests.web import Web


@pytest.fixture(scope="module")
def cookie(web: Web) -> str:
    web.operator("form-filler", *Role)
    with web.store.reading() as work:
        operator = work.people.operator("form-filler")
    assert operator is not None
    return web.runtime.sessions.start(operator).partition(";")[0].partition("=")[2]


def forms(web: Web) -> list[Route]:
    return [
        route
        for route in web.router.routes
        if route.access.kind == "console" and route.method not in SAFE
    ]


def send(web: Web, route: Route, cookie: str, **headers: str) -> Any:
    web.client.set_cookie(web.runtime.sessions.cookie, cookie)
    return web.call(route.method, address(route), headers=headers, data={"csrf_token": "x"})


def audited(web: Web) -> int:
    with web.store.reading() as work:
        head = work.audit.head("default")
    return 0 if head is None else head.seq


def test_there_are_forms_to_check_and_the_cookie_works(web: Web, cookie: str) -> None:
    assert len(forms(web)) >= 3
    web.client.set_cookie(web.runtime.sessions.cookie, cookie)
    assert web.call("GET", "/").status_code == 200


def test_a_form_without_the_sessions_token_is_refused_and_changes_nothing(
    web: Web, cookie: str
) -> None:
    before = audited(web)
    for route in forms(web):
        answer = send(web, route, cookie)
        assert answer.status_code == 403, f"{route.method} {route.path}"
        assert answer.content_type.startswith("text/html")
    assert audited(web) == before


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.test"}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_a_form_from_another_site_is_refused(
    web: Web, cookie: str, headers: dict[str, str]
) -> None:
    for route in forms(web):
        assert send(web, route, cookie, **headers).status_code == 403, route.path
    for route in web.router.routes:
        if route.access.kind == "public" and route.reads == "form":
            assert (
                web.call(route.method, address(route), headers=headers, data={}).status_code == 403
            )


def test_a_get_never_acts(web: Web) -> None:
    for route in web.router.routes:
        if route.method in SAFE:
            assert route.reads == "nothing", route.path


def test_where_to_go_after_signing_in_stays_inside(web: Web) -> None:
    for wanted in ("//evil.test", "/\\evil.test", "https://evil.test", "javascript:alert(1)"):
        answer = web.call("GET", "/login", query_string={"next": wanted})
        assert "evil.test" not in str(answer.headers)
        assert 'href="https://evil' not in answer.text
