"""Coming in and going out: passwords, links, sessions, and where a person is sent."""

from __future__ import annotations

import pytest

from controller.flow.actors import MACHINE
from controller.flow.people import make_link
from controller.service.ui.console import safe_next
from tests.browser.world import PASSWORD
from tests.unit.ui.conftest import Browser
from tests.unit.ui.reading import found, waiting


def test_the_wrong_password_is_refused_in_the_same_words_as_an_unknown_name(
    stranger: Browser,
) -> None:
    answers = [
        stranger.client.post("/login", data={"name": name, "password": "wrong password 1"})
        for name in ("omar", "nobody")
    ]
    assert [answer.status_code for answer in answers] == [401, 401]
    notices = [found(r'id="error"[^>]*>(.*?)</p>', one.text) for one in answers]
    assert notices[0] == notices[1]
    assert "Set-Cookie" not in answers[0].headers


def test_a_stranger_is_sent_to_sign_in_and_comes_back(stranger: Browser) -> None:
    wanted = f"/rollouts/{waiting(stranger.world)}"
    answer = stranger.client.get(wanted)
    assert answer.status_code == 303
    assert answer.headers["Location"] == f"/login?next={wanted.replace('/', '%2F')}"
    page = stranger.get(answer.headers["Location"])
    assert f'name="next" value="{wanted}"' in page
    signed_in = stranger.client.post(
        "/login", data={"name": "omar", "password": PASSWORD, "next": wanted}
    )
    assert signed_in.headers["Location"] == wanted
    cookie = signed_in.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


@pytest.mark.parametrize(
    "wanted", ["//evil.example", "/\\evil.example", "https://evil.example", "evil", "/a\\b", "/\n"]
)
def test_nobody_is_sent_elsewhere(wanted: str) -> None:
    assert safe_next(wanted) == "/"
    assert safe_next("/rollouts/r-1?done=x") == "/rollouts/r-1?done=x"


def test_a_live_part_tells_a_browser_whose_session_ended_where_to_go(stranger: Browser) -> None:
    answer = stranger.client.get("/live", headers={"HX-Request": "true"})
    assert answer.status_code == 401
    assert answer.headers["HX-Redirect"].startswith("/login?next=")


def test_signing_out_ends_the_session(omar: Browser) -> None:
    answer = omar.send("/", "/logout")
    assert answer.headers["Location"] == "/login"
    assert omar.client.get("/").status_code == 303


def test_a_sign_in_link_works_once(stranger: Browser) -> None:
    secret, _ = make_link(stranger.world.store, "vera", actor=MACHINE)
    page = stranger.get(f"/link/{secret}")
    assert "works once" in page
    address = f"/link/{secret}"
    differing = stranger.client.post(address, data={"password": "one thing 123", "again": "other"})
    assert (differing.status_code, "differ" in differing.text) == (422, True)
    short = stranger.client.post(address, data={"password": "short", "again": "short"})
    assert short.status_code == 422
    chosen = {"password": "a new long password", "again": "a new long password"}
    used = stranger.client.post(address, data=chosen)
    assert (used.status_code, used.headers["Location"]) == (303, "/")
    assert "vera" in stranger.get("/")
    again = stranger.client.post(address, data=chosen)
    assert (again.status_code, "unknown, used or expired" in again.text) == (401, True)
