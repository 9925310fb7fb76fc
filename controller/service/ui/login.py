"""Signing in, signing out, and the one-use link by which somebody chooses a password."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from controller.errors import InvalidInput, Unauthenticated
from controller.flow.people import use_link
from controller.service.http.calls import Answer, Call
from controller.service.http.refusals import RateLimited
from controller.service.http.router import Route, public
from controller.service.ui.console import HTML, Console, page_route, redirect, safe_next

Text = Annotated[str, Meta(max_length=1024)]


class LoginQuery(Struct, forbid_unknown_fields=True):
    """Where to go afterwards."""

    next: Annotated[str, Meta(max_length=2048)] = "/"


class LoginForm(Struct, forbid_unknown_fields=True):
    """Who, and the proof."""

    name: Text = ""
    password: Text = ""
    next: Annotated[str, Meta(max_length=2048)] = "/"


class PasswordForm(Struct, forbid_unknown_fields=True):
    """A password chosen twice."""

    password: Text = ""
    again: Text = ""


def login_routes(pages: Console) -> list[Route]:
    """Sign-in, sign-out and links."""
    return [*_session_routes(pages), *_link_routes(pages)]


def _session_routes(pages: Console) -> list[Route]:
    sessions = pages.runtime.sessions

    def form(call: Call) -> Answer:
        return pages.plain_page("login.html", name="", next=safe_next(call.query.next), error="")

    def sign_in(call: Call) -> Answer:
        given: LoginForm = call.body
        wanted = safe_next(given.next)
        try:
            _, cookie = sessions.sign_in(call.request, given.name.strip(), given.password)
        except (Unauthenticated, RateLimited) as refusal:
            status = 429 if isinstance(refusal, RateLimited) else 401
            return pages.plain_page(
                "login.html", status=status, name=given.name, next=wanted, error=refusal.message
            )
        return redirect(wanted, {"Set-Cookie": cookie})

    def sign_out(call: Call) -> Answer:
        return redirect("/login", {"Set-Cookie": sessions.end(call.request)})

    return [
        Route(
            method="GET",
            path="/login",
            name="ui_login",
            summary="The sign-in form",
            access=public(),
            handler=form,
            query=LoginQuery,
            media=HTML,
            documented=False,
        ),
        Route(
            method="POST",
            path="/login",
            name="ui_sign_in",
            summary="Sign in",
            access=public(),
            handler=sign_in,
            reads="form",
            body=LoginForm,
            media=HTML,
            documented=False,
        ),
        page_route("POST", "/logout", "ui_sign_out", "Sign out", sign_out),
    ]


def _link_routes(pages: Console) -> list[Route]:
    runtime = pages.runtime

    def form(_call: Call) -> Answer:
        return pages.plain_page("link.html", error="")

    def choose(call: Call) -> Answer:
        given: PasswordForm = call.body
        if given.password != given.again:
            return pages.plain_page("link.html", status=422, error="The two passwords differ.")
        try:
            operator = use_link(runtime.store, call.path["secret"], given.password)
        except (InvalidInput, Unauthenticated) as refusal:
            status = 422 if isinstance(refusal, InvalidInput) else 401
            return pages.plain_page("link.html", status=status, error=refusal.message)
        return redirect("/", {"Set-Cookie": runtime.sessions.start(operator)})

    return [
        Route(
            method="GET",
            path="/link/<secret>",
            name="ui_link",
            summary="The form in which a one-use link's holder chooses a password",
            access=public(),
            handler=form,
            media=HTML,
            documented=False,
        ),
        Route(
            method="POST",
            path="/link/<secret>",
            name="ui_use_link",
            summary="Choose a password and sign in",
            access=public(),
            handler=choose,
            reads="form",
            body=PasswordForm,
            media=HTML,
            documented=False,
        ),
    ]
