"""Signing in, staying in, getting out: over a small console of two pages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import flask
import pytest
from msgspec import Struct
from sqlalchemy import update

from controller.flow.actors import MACHINE, Role
from controller.flow.passwords import secret_hash
from controller.flow.people import change_operator, set_password
from controller.service.http.calls import Answer, Call
from controller.service.http.pipeline import Pipeline
from controller.service.http.router import Route, Router, console, public
from controller.service.http.sessions import IDLE, LIFE
from controller.storage.sql.schema.people import SessionRow
from tests.web import PASSWORD, Web, serving

MARY, MARYS = "mary", "its fleece was white as snow"


class Form(Struct, forbid_unknown_fields=True):
    amount: int


class SignIn(Struct, forbid_unknown_fields=True):
    name: str
    password: str


@dataclass
class Pages:
    """A console of three routes in front of a real store."""

    web: Web
    client: Any
    acted: list[int]

    def sign_in(self, password: str = MARYS, **headers: str) -> Any:
        return self.client.post("/in", data={"name": MARY, "password": password}, headers=headers)

    def csrf(self) -> str:
        return str(self.client.get("/page").json["csrf"])

    def act(self, **form: str) -> Any:
        return self.client.post("/act", data={"amount": "3", **form})


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[Pages]:
    acted: list[int] = []
    with serving(tmp_path) as web:
        web.operator(MARY, Role.OPERATOR, password=MARYS)
        sessions = web.runtime.sessions

        def sign_in(call: Call) -> Answer:
            _, cookie = sessions.sign_in(call.request, call.body.name, call.body.password)
            return Answer(status=303, headers={"Location": "/page", "Set-Cookie": cookie})

        def page(call: Call) -> Any:
            assert call.caller.session is not None
            return {"csrf": call.caller.session.csrf, "who": call.actor.name}

        def act(call: Call) -> Any:
            acted.append(call.body.amount)
            return {}

        def sign_out(call: Call) -> Answer:
            return Answer(status=303, headers={"Set-Cookie": sessions.end(call.request)})

        router = Router()
        router.add(
            Route(method="POST", path="/in", name="in", summary="", access=public(),
                  handler=sign_in, reads="form", body=SignIn),
            Route(method="GET", path="/page", name="page", summary="", access=console(),
                  handler=page),
            Route(method="POST", path="/act", name="act", summary="",
                  access=console(Role.OPERATOR), handler=act, reads="form", body=Form),
            Route(method="POST", path="/out", name="out", summary="", access=console(),
                  handler=sign_out),
        )  # fmt: skip
        runtime = web.runtime
        pipeline = Pipeline(
            router=router,
            store=runtime.store,
            authenticator=runtime.authenticator,
            sessions=sessions,
            buckets=runtime.buckets,
        )

        def serve(route: Route, request: Any, parts: Any) -> flask.Response:
            answer = pipeline(route, request, parts)
            assert isinstance(answer.body, bytes)
            return flask.Response(
                answer.body, answer.status, dict(answer.headers), content_type=answer.media
            )

        app = flask.Flask(__name__, static_folder=None)
        router.install(app, serve)
        yield Pages(web, app.test_client(), acted)


def test_the_right_password_opens_a_session(pages: Pages) -> None:
    answer = pages.sign_in()
    assert answer.status_code == 303
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert pages.client.get("/page").json["who"] == MARY


def test_what_is_wrong_is_never_said(pages: Pages) -> None:
    wrong = pages.sign_in("not the password")
    unknown = pages.client.post("/in", data={"name": "nobody", "password": "x" * 20})
    assert (wrong.status_code, unknown.status_code) == (401, 401)
    assert wrong.json["detail"] == unknown.json["detail"]
    assert "Set-Cookie" not in wrong.headers


def test_a_new_sign_in_ends_the_old_session(pages: Pages) -> None:
    pages.sign_in()
    first = pages.client.get_cookie("controller_session").value
    pages.sign_in()
    second = pages.client.get_cookie("controller_session").value
    assert first != second
    pages.client.set_cookie("controller_session", first)
    assert pages.client.get("/page").status_code == 401


def test_a_planted_cookie_is_not_adopted(pages: Pages) -> None:
    pages.client.set_cookie("controller_session", "planted")
    pages.sign_in()
    assert pages.client.get_cookie("controller_session").value != "planted"


def test_signing_out_ends_it_everywhere(pages: Pages) -> None:
    pages.sign_in()
    cookie = pages.client.get_cookie("controller_session").value
    token = pages.csrf()
    out = pages.client.post("/out", headers={"X-CSRF-Token": token})
    assert "Max-Age=0" in out.headers["Set-Cookie"]
    pages.client.set_cookie("controller_session", cookie)
    assert pages.client.get("/page").status_code == 401


@pytest.mark.parametrize(
    "form", [{}, {"csrf_token": ""}, {"csrf_token": "x" * 43}, {"csrf_token": "é"}]
)
def test_a_form_without_this_sessions_token_changes_nothing(
    pages: Pages, form: dict[str, str]
) -> None:
    pages.sign_in()
    answer = pages.act(**form)
    assert (answer.status_code, answer.json["code"]) == (403, "csrf_refused")
    assert pages.acted == []


def test_another_sessions_token_is_refused(pages: Pages) -> None:
    pages.sign_in()
    old = pages.csrf()
    pages.sign_in()
    assert pages.act(csrf_token=old).status_code == 403
    assert pages.act(csrf_token=pages.csrf()).status_code == 200
    assert pages.acted == [3]


def test_the_token_may_come_as_a_header(pages: Pages) -> None:
    pages.sign_in()
    answer = pages.client.post("/act", data={"amount": "3"}, headers={"X-CSRF-Token": pages.csrf()})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.test"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_form_from_another_site_is_refused(pages: Pages, headers: dict[str, str]) -> None:
    pages.sign_in()
    form = {"amount": "3", "csrf_token": pages.csrf()}
    assert pages.client.post("/act", data=form, headers=headers).status_code == 403
    assert pages.acted == []
    assert pages.sign_in(**headers).status_code == 403


def test_the_consoles_own_pages_are_not_another_site(pages: Pages) -> None:
    pages.sign_in()
    headers = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}
    form = {"amount": "3", "csrf_token": pages.csrf()}
    assert pages.client.post("/act", data=form, headers=headers).status_code == 200


def shift(pages: Pages, name: str, by: timedelta) -> None:
    """Make every session look older."""
    with pages.web.store.reading() as work:
        cookie = pages.client.get_cookie("controller_session").value
        session = work.people.session(secret_hash(cookie))
    assert session is not None
    with pages.web.database.begin() as connection:
        connection.execute(update(SessionRow).values({name: getattr(session, name) - by}))


@pytest.mark.parametrize(("name", "by"), [("seen_at", IDLE), ("created_at", LIFE)])
def test_a_session_ends_by_itself(pages: Pages, name: str, by: timedelta) -> None:
    pages.sign_in()
    shift(pages, name, by - timedelta(seconds=30))
    assert pages.client.get("/page").status_code == 200
    shift(pages, name, by + timedelta(seconds=30))
    assert pages.client.get("/page").status_code == 401


def test_a_removed_operator_is_out_at_once(pages: Pages) -> None:
    pages.sign_in()
    change_operator(pages.web.store, MARY, actor=MACHINE, active=False)
    assert pages.client.get("/page").status_code == 401
    assert pages.sign_in().status_code == 401


def test_a_lost_role_counts_at_once(pages: Pages) -> None:
    pages.sign_in()
    change_operator(pages.web.store, MARY, actor=MACHINE, roles=[Role.VIEWER])
    assert pages.client.get("/page").status_code == 401, "a change of roles ends sessions"
    pages.sign_in()
    assert pages.act(csrf_token=pages.csrf()).json["code"] == "not_permitted"


def test_a_new_password_ends_every_session(pages: Pages) -> None:
    pages.sign_in()
    set_password(pages.web.store, MARY, PASSWORD, actor=MACHINE)
    assert pages.client.get("/page").status_code == 401
    assert pages.sign_in(PASSWORD).status_code == 303


def test_guessing_is_slowed_down_for_the_name_and_told_when_to_return(pages: Pages) -> None:
    statuses = [pages.sign_in(f"guess number {number}").status_code for number in range(8)]
    assert statuses[:5] == [401] * 5
    assert statuses[-1] == 429
    answer = pages.sign_in()
    assert answer.status_code == 429, "the right password has to wait as well"
    assert int(answer.headers.get("Retry-After", 1)) >= 1


@pytest.mark.parametrize(
    "form", [{"amount": "three"}, {"amount": ""}, {"amount": "3", "role": "x"}]
)
def test_a_form_is_read_as_strictly_as_json(pages: Pages, form: dict[str, str]) -> None:
    pages.sign_in()
    answer = pages.client.post("/act", data={**form, "csrf_token": pages.csrf()})
    assert answer.status_code == 422


def test_a_page_reads_forms_alone(pages: Pages) -> None:
    pages.sign_in()
    answer = pages.client.post("/act", json={"amount": 3}, headers={"X-CSRF-Token": pages.csrf()})
    assert answer.status_code == 415


def test_a_password_buys_a_token_for_the_api_at_the_same_price(pages: Pages) -> None:
    def buy(password: str) -> Any:
        body = {"name": MARY, "password": password}
        return pages.web.call("POST", "/v1/tokens", json=body)

    bought = buy(MARYS)
    assert bought.status_code == 201
    assert pages.web.call("GET", "/v1/slots", bought.json["token"]).status_code == 200
    statuses = [buy(f"guess number {number}").status_code for number in range(8)]
    assert statuses[:5] == [401] * 5
    assert statuses[-1] == 429
    assert pages.sign_in().status_code == 429, "one brake for both doors"


def test_a_token_or_key_opens_no_page(pages: Pages) -> None:
    for who in (*pages.web.tokens.values(), *pages.web.keys.values()):
        answer = pages.client.get("/page", headers={"Authorization": f"Bearer {who}"})
        assert answer.status_code == 401
