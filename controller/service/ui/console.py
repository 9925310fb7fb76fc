"""What every page shares: templates, the navigation, who is signed in, and how answers go out."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

import jinja2
from markupsafe import Markup
from msgspec import Struct
from werkzeug.wrappers import Request

from controller.flow import numbers
from controller.flow.actors import Role
from controller.flow.ports.work import Work
from controller.service.http.calls import Answer, Call
from controller.service.http.problems import Problem
from controller.service.http.router import Handler, Route, console
from controller.service.http.runtime import WebRuntime
from controller.service.http.sessions import is_fresh
from controller.service.ui import times, words
from controller.service.ui.static_files import accepts_gzip, static_files

HTML: Final = "text/html; charset=utf-8"
PRIVATE: Final = "private, no-cache"

NAVIGATION: Final = (
    ("rollouts", "/", "Rollouts"),
    ("approvals", "/approvals", "Approvals"),
    ("slots", "/slots", "Slots"),
    ("audit", "/audit", "Audit"),
    ("people", "/operators", "Operators"),
    ("setup", "/setup", "Set up"),
)


class Console:
    """Renders pages and fragments.

    Parameters
    ----------
    runtime : WebRuntime
        Store, settings and sessions of this process.
    """

    def __init__(self, runtime: WebRuntime) -> None:
        self.runtime = runtime
        self.files = static_files()
        self._templates = jinja2.Environment(
            loader=jinja2.PackageLoader("controller.service.ui"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._templates.globals.update(
            asset=lambda name: self.files[name].address, numbers=numbers, times=times, words=words
        )
        self._templates.filters.update(
            count=numbers.count,
            share=numbers.share,
            short=lambda digest: (digest or "")[:12],
            url=lambda text: quote(str(text), safe=""),
        )

    def page(
        self,
        call: Call,
        template: str,
        *,
        work: Work | None,
        here: str = "",
        status: int = 200,
        **context: Any,
    ) -> Answer:
        """A whole page for somebody who is signed in.

        Parameters
        ----------
        work : Work or None
            The transaction the page is read in: the navigation counts from the same snapshot.
        here : str
            Which entry of the navigation this page belongs to.
        """
        session = call.caller.session
        body = self.render(
            template,
            here=here,
            navigation=NAVIGATION,
            operator=call.actor.name,
            roles=sorted(role.value for role in call.actor.roles),
            csrf=session.csrf if session else "",
            waiting=0 if work is None else waiting_for(work, call),
            now=datetime.now().astimezone() if work is None else work.now,
            project=call.project,
            **context,
        )
        headers: dict[str, str] = {}
        if call.request.method == "GET" and not call.request.query_string:
            body = _zipped(call, body, headers)
        return Answer(status=status, body=body, media=HTML, headers=headers)

    def fragment(self, call: Call, template: str, **context: Any) -> Answer:
        """The part of a page that is replaced while it is open; unchanged parts cost a 304."""
        body = self.render(template, **context)
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers = {"ETag": tag, "Cache-Control": PRIVATE}
        if call.request.headers.get("If-None-Match") == tag:
            return Answer(status=304, media=HTML, headers=headers)
        return Answer(body=_zipped(call, body, headers), media=HTML, headers=headers)

    def plain_page(self, template: str, *, status: int = 200, **context: Any) -> Answer:
        """A page for anybody: sign-in, links, refusals."""
        return Answer(status=status, body=self.render(template, **context), media=HTML)

    def render(self, template: str, **context: Any) -> bytes:
        """Bytes of a template."""
        return self._templates.get_template(template).render(**context).encode()

    def confirm(self, call: Call, password: str) -> None:
        """Refuse what gives power away to a browser whose person may have left it.

        Raises
        ------
        NotConfirmed, RateLimited
            As for `Sessions.confirm`.
        """
        session = call.caller.session
        if session is not None:
            self.runtime.sessions.confirm(call.request, session, password)

    # ------------------------------------------------------------ refusals

    def page_of_problem(self, problem: Problem, request: Request) -> Answer:
        """The page that tells of an error; who is not signed in goes to the sign-in page."""
        live = request.headers.get("HX-Request") == "true"
        if problem.status == 401:
            where = sign_in_address(request)
            if live:
                return Answer(status=401, media=HTML, headers={"HX-Redirect": where})
            if request.method in ("GET", "HEAD"):
                return redirect(where)
        body = self.render("problem.html", problem=problem, advice=words.advice(problem.code))
        return Answer(status=problem.status, body=body, media=HTML, headers=_retry(problem))


def page_route(
    method: str,
    path: str,
    name: str,
    summary: str,
    handler: Handler,
    *,
    roles: tuple[Role, ...] = (),
    query: type[Struct] | None = None,
    body: type[Struct] | None = None,
) -> Route:
    """A route of the console: for signed-in people (of these roles), answering with a page."""
    return Route(
        method=method,
        path=path,
        name=name,
        summary=summary,
        access=console(*roles),
        handler=handler,
        reads="form" if method == "POST" else "nothing",
        query=query,
        body=body,
        media=HTML,
        documented=False,
    )


def waiting_for(work: Work, call: Call) -> int:
    """Open proposals that the signed-in person has not voted on."""
    found = work.approvals.list(call.project, status="open")
    return sum(all(vote.voter != call.actor.name for vote in one.votes) for one in found)


def asks_password(work: Work, call: Call) -> bool:
    """Whether what gives power away would ask this browser for the password again."""
    session = call.caller.session
    stored = None if session is None else work.people.session(session.id_hash)
    return stored is None or not is_fresh(stored, work.now)


def redirect(where: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Go there with a GET."""
    return Answer(status=303, media=HTML, headers={"Location": where, **(headers or {})})


def sign_in_address(request: Request) -> str:
    """The sign-in page that comes back to where somebody wanted to go."""
    wanted = request.full_path.rstrip("?")
    return "/login" if wanted in ("/", "") else f"/login?next={quote(wanted, safe='')}"


def safe_next(wanted: str) -> str:
    """A path of this console, or its first page: nobody is sent elsewhere after signing in."""
    inside = wanted.startswith("/") and not wanted.startswith(("//", "/\\"))
    return wanted if inside and "\\" not in wanted and wanted.isprintable() else "/"


def may(call: Call, *roles: Role) -> bool:
    """Whether the signed-in person holds one of the roles."""
    return any(role in call.actor.roles for role in roles)


def trusted(markup: str) -> Markup:
    """Markup made by this console's own drawing code."""
    return Markup(markup)  # noqa: S704


def _zipped(call: Call, body: bytes, headers: dict[str, str]) -> bytes:
    """The body, compressed where the browser takes it.

    A page with a secret (its CSRF token) is compressed only where nothing that somebody else could
    have chosen stands beside it: guessing a secret by sizes needs such text.
    """
    headers["Vary"] = "Cookie, Accept-Encoding"
    if not accepts_gzip(call):
        return body
    headers["Content-Encoding"] = "gzip"
    return gzip.compress(body, 5, mtime=0)


def _retry(problem: Problem) -> dict[str, str]:
    after = problem.details.get("retry_after")
    return {"Retry-After": str(after)} if after else {}
