"""Default-deny routing: what is not declared here, with its access and its types, is refused.

A room that serves something builds `Route`s and adds them to the `Router`; nothing else reaches a
handler. Each route says who may call it:

- `public()`: anybody. Health, the OpenAPI document, the sign-in form, static files.
- `service(Scope.READ, roles=...)`: the JSON API. Service keys that hold one of the scopes (the
  scope `admin` opens all of them) and operators' tokens that hold one of the roles. Cookies are
  never read here.
- `people(Role.APPROVER)`: the JSON API for operators' tokens alone; no key, whatever its scope.
- `console(Role.VIEWER, ...)`: pages. A session cookie whose operator holds one of the roles (none
  named: any role). Keys and tokens are never read here. Every method but GET and HEAD must carry
  the session's CSRF token, as form field `csrf_token` or header `X-CSRF-Token`.

A console page, from `service/ui`:

>>> def show(call: Call) -> Answer:
...     return Answer(body=b"<!doctype html>...", media="text/html; charset=utf-8")
>>> route = Route(
...     method="GET", path="/rollouts/<rollout>", name="ui_rollout", summary="A rollout's page",
...     access=console(), handler=show, documented=False,
... )

Handlers of routes run inside Flask's request context (so `flask.render_template` works), except
the few that are `hot`: those stand in front of Flask and may use `call` alone. A form's fields come
as `call.body`, an instance of the route's `body` type, with `reads="form"`. An error on a console
route becomes a page if `Router.page_of_problem` is set; it also decides to redirect to sign-in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import flask
from werkzeug.routing import BaseConverter
from werkzeug.wrappers import Request

from controller.errors import ControllerError
from controller.flow.actors import Role, Scope
from controller.service.http.calls import Answer, Call
from controller.service.http.limits import ADMIN, Rate
from controller.service.http.problems import Problem

Handler = Callable[[Call], Any]
Reads = Literal["nothing", "json", "definition", "form", "bytes"]
SAFE: Final = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who may call a route; see the module's text."""

    kind: Literal["public", "service", "console"]
    scopes: frozenset[Scope] = frozenset()
    roles: frozenset[Role] = frozenset()


EVERY_ROLE: Final = frozenset(Role)


def public() -> Access:
    """Anybody."""
    return Access(kind="public")


def service(*scopes: Scope, roles: Iterable[Role] = EVERY_ROLE) -> Access:
    """Keys with one of the scopes, or `admin`; operators' tokens with one of the roles."""
    return Access(kind="service", scopes=frozenset(scopes) | {Scope.ADMIN}, roles=frozenset(roles))


def people(*roles: Role) -> Access:
    """Operators' tokens alone, with one of the roles."""
    return Access(kind="service", roles=frozenset(roles) or EVERY_ROLE)


def console(*roles: Role) -> Access:
    """Signed-in browsers whose operator holds one of the roles; any role where none is named."""
    return Access(kind="console", roles=frozenset(roles) or EVERY_ROLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One address and method.

    Attributes
    ----------
    path : str
        As Flask writes it: `/v1/slots/<slot>`. A part `<text:name>` at the end takes slashes too.
    reads : str
        What the body is: `json` becomes an instance of `body`; `definition` is JSON or YAML read as
        plain data; `form` is an urlencoded form of type `body`; `bytes` is left to the handler.
    gzip : bool
        Whether the body may come compressed.
    optional : bool
        Whether the body may be left out; then `body` is made with its defaults.
    query, body, answer : type or None
        Wire types. `answer` only documents; a handler returns an `Answer`, or a value to encode.
    status : int
        Of the answer, where the handler returns a value.
    media : str
        Media type of the answer, for the document.
    idempotent : bool
        Whether it honours `Idempotency-Key`.
    if_match : bool
        Whether it reads `If-Match`; for the document.
    hot : bool
        Whether it stands in front of Flask. Such a path has no part, or one at its end.
    refuse : callable or None
        Shapes its refusals, where a protocol has its own form of them.
    errors : tuple
        What it may refuse with besides what every route may.
    """

    method: str
    path: str
    name: str
    summary: str
    access: Access
    handler: Handler
    description: str = ""
    reads: Reads = "nothing"
    gzip: bool = False
    optional: bool = False
    query: Any = None
    body: Any = None
    answer: Any = None
    status: int = 200
    media: str = "application/json"
    idempotent: bool = False
    if_match: bool = False
    hot: bool = False
    rate: Rate = ADMIN
    refuse: Callable[[Problem], Answer] | None = None
    errors: tuple[type[ControllerError], ...] = ()
    documented: bool = True

    @property
    def template(self) -> str:
        """The path as OpenAPI writes it: `/v1/slots/{slot}`."""
        return _PART.sub(r"{\1}", self.path)

    @property
    def fixed(self) -> str:
        """The path without the part at its end, where it has one: `/v1/slots/`."""
        return _LAST_PART.sub("/", self.path)

    @property
    def is_wide(self) -> bool:
        """Whether the part at the path's end takes slashes."""
        return "<text:" in self.path

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the path's variable parts."""
        return tuple(_PART.findall(self.path))


class AnyText(BaseConverter):
    """The rest of an address, slashes and all: `<text:unit>`. An id may have any character."""

    regex = ".+"
    part_isolating = False


_LAST_PART: Final = re.compile(r"/<[^<>]+>$")
_PART: Final = re.compile(r"<(?:[a-z]+:)?([a-z0-9_]+)>")


class Router:
    """Every route of a process. Adding the same name or address twice is an error."""

    def __init__(self) -> None:
        self._routes: dict[str, Route] = {}
        self.page_of_problem: Callable[[Problem, Request], Answer] | None = None

    def add(self, *routes: Route) -> None:
        """Register routes.

        Raises
        ------
        ValueError
            If a name or an address is taken, or a hot path has a part before its end.
        """
        for route in routes:
            taken = {(one.method, one.path) for one in self._routes.values()}
            if route.name in self._routes or (route.method, route.path) in taken:
                raise ValueError(f"{route.method} {route.path} ({route.name}) is registered twice")
            if route.hot and "<" in route.fixed:
                raise ValueError(f"{route.path} is hot but has a part before its end")
            self._routes[route.name] = route

    @property
    def routes(self) -> tuple[Route, ...]:
        """Every route, in the order they were added."""
        return tuple(self._routes.values())

    @property
    def hot(self) -> Mapping[tuple[str, str], Route]:
        """The routes in front of Flask, by method and the fixed part of their path."""
        return {(route.method, route.fixed): route for route in self.routes if route.hot}

    @property
    def wide(self) -> re.Pattern[str] | None:
        """How addresses begin in which one part takes the rest; None where there are none."""
        begins = {route.path.partition("<text:")[0] for route in self.routes if route.is_wide}
        patterns = sorted(_PART.sub("[^/]+", begin) for begin in begins)
        return re.compile("|".join(patterns)) if patterns else None

    def refusal_below(self, path: str) -> Callable[[Problem], Answer] | None:
        """The protocol's own form of a refusal for an address below one of its routes."""
        forms = (
            route.refuse
            for route in self.routes
            if route.refuse is not None and route.parts and path.startswith(route.fixed)
        )
        return next(forms, None)

    def get(self, name: str | None) -> Route | None:
        """The route of an endpoint name; None means that nothing may be served."""
        return None if name is None else self._routes.get(name)

    def install(
        self, app: flask.Flask, serve: Callable[[Route, Request, Mapping[str, str]], flask.Response]
    ) -> None:
        """Make Flask serve the routes, and nothing but them."""
        app.url_map.merge_slashes = False
        app.url_map.converters["text"] = AnyText
        for route in self.routes:
            app.add_url_rule(
                route.path,
                endpoint=route.name,
                view_func=_view(route, serve),
                methods=[route.method],
                provide_automatic_options=False,
            )

        def deny_undeclared() -> None:
            if flask.request.endpoint is not None and self.get(flask.request.endpoint) is None:
                flask.abort(404)

        app.before_request(deny_undeclared)


def _view(
    route: Route, serve: Callable[[Route, Request, Mapping[str, str]], flask.Response]
) -> Callable[..., flask.Response]:
    def view(**parts: str) -> flask.Response:
        return serve(route, flask.request, parts)

    return view
