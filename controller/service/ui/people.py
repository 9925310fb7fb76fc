"""Operators: who may sign in and what they may do; sign-in links for those who are new."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from controller.errors import Conflict, InvalidInput
from controller.flow.actors import Role
from controller.flow.people import add_operator, change_operator, make_link, operators
from controller.flow.ports.people import Operator
from controller.service.http.calls import Answer, Call
from controller.service.http.problems import status_of
from controller.service.http.refusals import NotConfirmed, RateLimited
from controller.service.http.router import Handler, Route
from controller.service.ui.console import Console, asks_password, may, page_route, redirect

MEANING: Final[dict[Role, str]] = {
    Role.VIEWER: "sees everything",
    Role.AUTHOR: "asks for rollouts",
    Role.OPERATOR: "starts, pauses, goes on, goes back",
    Role.APPROVER: "approves or rejects",
    Role.POLICY_ADMIN: "changes what counts and how it must be shown",
    Role.AUDITOR: "reads and checks the audit log",
    Role.ADMIN: "manages operators and keys",
}


class NewOperator(Struct, forbid_unknown_fields=True):
    """A name, and a box for each role."""

    name: Annotated[str, Meta(max_length=64)] = ""
    viewer: str = ""
    author: str = ""
    operator: str = ""
    approver: str = ""
    policy_admin: str = ""
    auditor: str = ""
    admin: str = ""

    @property
    def roles(self) -> frozenset[Role]:
        """The roles whose boxes were ticked."""
        return frozenset(role for role in Role if getattr(self, role.value))


class Access(Struct, forbid_unknown_fields=True):
    """Whether an operator may come in."""

    active: Annotated[str, Meta(pattern="^(yes|no)$")]


class PasswordAgain(Struct, forbid_unknown_fields=True):
    """Proof that who holds this browser is who signed in."""

    password: Annotated[str, Meta(max_length=1024)] = ""


def people_routes(pages: Console) -> list[Route]:
    """The operators' page and its forms."""
    store = pages.runtime.store

    def shown(call: Call, *, status: int = 200, **context: Any) -> Answer:
        people = operators(store, actor=call.actor)
        given = {"error": "", "link": "", "link_for": "", "expires_at": None, **context}
        with store.reading() as work:
            return pages.page(
                call,
                "people.html",
                work=work,
                here="people",
                status=status,
                people=people,
                roles_known=[(role, MEANING[role]) for role in Role],
                is_admin=may(call, Role.ADMIN),
                asks_password=may(call, Role.ADMIN) and asks_password(work, call),
                can_enter=_can_enter,
                **given,
            )

    def link(call: Call, name: str) -> Answer:
        secret, expires_at = make_link(store, name, actor=call.actor)
        address = f"{call.request.host_url.rstrip('/')}/link/{secret}"
        return shown(call, link=address, link_for=name, expires_at=expires_at)

    def add(call: Call) -> Answer:
        given: NewOperator = call.body
        try:
            operator = add_operator(store, given.name.strip(), given.roles, actor=call.actor)
        except (InvalidInput, Conflict) as refusal:
            return shown(call, status=422, error=refusal.message)
        return link(call, operator.name)

    def new_link(call: Call) -> Answer:
        try:
            return link(call, call.path["name"])
        except Conflict as refusal:
            return shown(call, status=409, error=refusal.message)

    def access(call: Call) -> Answer:
        try:
            change_operator(
                store, call.path["name"], actor=call.actor, active=call.body.active == "yes"
            )
        except Conflict as refusal:
            return shown(call, status=409, error=refusal.message)
        return shown(call)

    def guarded(handler: Handler) -> Handler:
        return lambda call: _unconfirmed(pages, shown, call) or handler(call)

    return [
        page_route("GET", "/operators", "ui_people", "The operators", shown),
        page_route(
            "POST",
            "/operators",
            "ui_add_operator",
            "Add an operator and make their sign-in link",
            guarded(add),
            roles=(Role.ADMIN,),
            body=NewOperator,
        ),
        page_route(
            "POST",
            "/operators/confirm",
            "ui_password_again",
            "Give one's password again",
            guarded(lambda _: redirect("/operators")),
            roles=(Role.ADMIN,),
            body=PasswordAgain,
        ),
        page_route(
            "POST",
            "/operators/<name>/link",
            "ui_make_link",
            "Make a sign-in link",
            guarded(new_link),
            roles=(Role.ADMIN,),
        ),
        page_route(
            "POST",
            "/operators/<name>/access",
            "ui_change_access",
            "Let an operator in or out",
            guarded(access),
            roles=(Role.ADMIN,),
            body=Access,
        ),
    ]


def _unconfirmed(pages: Console, shown: Callable[..., Answer], call: Call) -> Answer | None:
    """The page again where the password has to come first; locking somebody out never waits."""
    if isinstance(call.body, Access) and call.body.active == "no":
        return None
    password = call.body.password if isinstance(call.body, PasswordAgain) else ""
    try:
        pages.confirm(call, password)
    except (NotConfirmed, RateLimited) as refusal:
        return shown(call, status=status_of(type(refusal)), error=refusal.message)
    return None


def _can_enter(operator: Operator) -> str:
    if not operator.active:
        return "locked out"
    return "active" if operator.password_hash else "waits for a sign-in link"
