"""What happens to a request between its address and its handler, in one order for every route.

Who is it; may they; how often; did this console's page send it; what does it say; was it said
before; then the handler. Every refusal on the way is an error with a code, and this is the door
where whatever nobody expected is caught, logged once and answered with 500.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from typing import Any, Final

from werkzeug.wrappers import Request

from controller.errors import (
    ControllerError,
    IdempotencyMismatch,
    InvalidInput,
    NotPermitted,
    Unauthenticated,
)
from controller.flow.actors import Scope
from controller.flow.ports.people import Replay
from controller.flow.ports.work import Store
from controller.service.http.authentication import Authenticator
from controller.service.http.calls import ANONYMOUS, Answer, Call, Caller, encode
from controller.service.http.limits import (
    CLIENT,
    CLIENT_KEY,
    FORM,
    PUBLIC,
    Buckets,
    caller_at,
)
from controller.service.http.loader import (
    JSON_TYPES,
    YAML_TYPES,
    check_text,
    parse_json,
    parse_yaml,
    read_body,
    read_form,
    read_query,
    typed,
)
from controller.service.http.problems import Problem, problem_answer, problem_of
from controller.service.http.refusals import InProgress, InternalError, OriginRefused, TooLong
from controller.service.http.router import SAFE, Route, Router
from controller.service.http.sessions import (
    CSRF_FIELD,
    Sessions,
    check_csrf,
    check_same_origin,
)

log = logging.getLogger(__name__)

MOST_PART: Final = 512
REPLAY_HEADER: Final = "Idempotency-Key"
CALLER: Final = "controller.caller"
ROUTE: Final = "controller.route"


class Pipeline:
    """Serves one request of one route."""

    def __init__(
        self,
        *,
        router: Router,
        store: Store,
        authenticator: Authenticator,
        sessions: Sessions,
        buckets: Buckets,
    ) -> None:
        self._router = router
        self._store = store
        self._authenticator = authenticator
        self._sessions = sessions
        self._buckets = buckets

    def __call__(self, route: Route, request: Request, path: Mapping[str, str]) -> Answer:
        """The answer of a route; never raises."""
        request.environ[ROUTE] = route.name
        try:
            return self._serve(route, request, path)
        except ControllerError as error:
            return self.refuse(error, request, route)
        except Exception:
            log.exception("request_failed", extra={"route": route.name, "method": route.method})
            return self.refuse(InternalError(), request, route)

    def refuse(self, error: ControllerError, request: Request, route: Route | None) -> Answer:
        """The answer that tells of an error: a page on console routes, else problem+json."""
        problem = problem_of(error, instance=request.path[:200])
        refuse = self._router.refusal_below(request.path) if route is None else route.refuse
        if refuse is not None:
            return refuse(problem)
        page = self._router.page_of_problem
        wants_page = is_page(route) if route is not None else is_browsing(request)
        if page is not None and wants_page:
            return self._page(problem, request)
        return problem_answer(problem)

    def _page(self, problem: Problem, request: Request) -> Answer:
        page = self._router.page_of_problem
        assert page is not None
        try:
            return page(problem, request)
        except Exception:
            log.exception("error_page_failed", extra={"code": problem.code})
            return problem_answer(problem)

    # ------------------------------------------------------------ the order

    def _serve(self, route: Route, request: Request, path: Mapping[str, str]) -> Answer:
        caller = self._let_in(route, request)
        request.environ[CALLER] = caller.actor.name
        for part in path.values():
            check_text(part)
            if len(part) > MOST_PART:
                raise TooLong(f"A part of the address is longer than {MOST_PART} characters.")
        query = read_query(request, route.query)
        raw, body = self._read(route, request, caller)
        call = Call(request=request, caller=caller, path=path, query=query, body=body, raw=raw)
        key = request.headers.get(REPLAY_HEADER) if route.idempotent else None
        return _answered(route, call) if key is None else self._once(route, call, key)

    def _let_in(self, route: Route, request: Request) -> Caller:
        if route.access.kind == "public":
            rate = FORM if route.reads == "form" else PUBLIC
            self._buckets.take(f"address:{caller_at(request.remote_addr)}", rate)
            return ANONYMOUS
        if route.access.kind == "console":
            caller = self._sessions.find(request)
        else:
            try:
                caller = self._authenticator.bearer(request)
            except Unauthenticated:
                self._buckets.take(f"refused:{caller_at(request.remote_addr)}", PUBLIC)
                raise
        self._permit(route, request, caller)
        self._spend(route, request, caller)
        return caller

    def _spend(self, route: Route, request: Request, caller: Caller) -> None:
        """A client's key is everybody's: one of its holders must not use up what all have."""
        name = caller.actor.name
        if caller.key is None or not caller.key.client:
            self._buckets.take(name, route.rate)
            return
        self._buckets.take(f"{name} at {caller_at(request.remote_addr)}", CLIENT)
        self._buckets.take(name, CLIENT_KEY)

    def _permit(self, route: Route, request: Request, caller: Caller) -> None:
        access, actor = route.access, caller.actor
        if caller.key is not None:
            _check_origin(request, caller)
            if not access.scopes & actor.scopes:
                raise NotPermitted(_scopes_needed(access.scopes))
        elif not access.roles & actor.roles:
            names = " or ".join(sorted(role.value for role in access.roles))
            raise NotPermitted(f"This needs the role {names}.")

    def _read(self, route: Route, request: Request, caller: Caller) -> tuple[bytes, Any]:
        unsafe = request.method not in SAFE
        if route.reads == "form":
            check_same_origin(request)
            fields = read_form(request)
            token = fields.pop(CSRF_FIELD, None)
            self._check_form(request, caller, token)
            return b"", typed(fields, route.body, strict=False) if route.body else fields
        if unsafe and route.access.kind == "console":
            self._check_form(request, caller, None)
        if route.reads == "nothing":
            return b"", None
        if route.optional and not has_body(request):
            return b"", route.body()
        if route.reads == "definition":
            raw = read_body(request, types=JSON_TYPES | YAML_TYPES)
            is_json = request.mimetype in JSON_TYPES
            return raw, parse_json(raw) if is_json else parse_yaml(raw)
        raw = read_body(request, types=JSON_TYPES, gzip=route.gzip)
        if route.reads == "bytes":
            return raw, None
        value = parse_json(raw)
        return raw, value if route.body is None else typed(value, route.body)

    def _check_form(self, request: Request, caller: Caller, token: str | None) -> None:
        if caller.session is not None:
            check_csrf(request, caller.session, token)
        else:
            check_same_origin(request)

    # ------------------------------------------------------------ once

    def _once(self, route: Route, call: Call, key: str) -> Answer:
        """The first answer to an Idempotency-Key, however often the request comes."""
        check_text(key)
        if not 1 <= len(key) <= 200:
            raise InvalidInput(f"{REPLAY_HEADER} has 1 to 200 characters.", field=REPLAY_HEADER)
        name = _sha256(call.actor.name, key)
        asked = _sha256(route.name, call.request.full_path, call.raw.decode("utf-8", "replace"))
        with self._store.writing() as work:
            earlier = work.replays.reserve(call.project, name, asked, at=work.now)
        if earlier is not None:
            return _replayed(earlier, asked)
        try:
            answered = _answered(route, call)
        except BaseException:
            with self._store.writing() as work:
                work.replays.drop(call.project, name)
            raise
        body = answered.body if isinstance(answered.body, bytes) else b""
        with self._store.writing() as work:
            work.replays.finish(
                call.project, name, status=answered.status, body=body, headers=answered.headers
            )
        return answered


def is_page(route: Route) -> bool:
    """Whether the route is for browsers: a session's page, or a form anybody may send."""
    return route.access.kind == "console" or route.media.startswith("text/html")


def has_body(request: Request) -> bool:
    """Whether a body came along."""
    return bool(request.content_length) or "Transfer-Encoding" in request.headers


def is_browsing(request: Request) -> bool:
    """Whether a browser looks for a page at an address that does not exist."""
    api = request.path.startswith(("/v1/", "/ofrep/"))
    return not api and "text/html" in request.headers.get("Accept", "")


def _answered(route: Route, call: Call) -> Answer:
    given = route.handler(call)
    if isinstance(given, Answer):
        return given
    if given is None:
        return Answer(status=204)
    return Answer(status=route.status, body=encode(given))


def _replayed(earlier: Replay, asked: str) -> Answer:
    if earlier.request_sha256 != asked:
        raise IdempotencyMismatch
    if earlier.status == 0:
        raise InProgress
    return Answer(
        status=earlier.status,
        body=earlier.body,
        headers={**earlier.headers, "Idempotency-Replayed": "true"},
    )


def _check_origin(request: Request, caller: Caller) -> None:
    """A key for browsers works from its websites alone; any other key from none."""
    assert caller.key is not None
    origin = request.environ.get("HTTP_ORIGIN")
    if origin is not None and origin not in caller.key.origins:
        raise OriginRefused


def _scopes_needed(scopes: frozenset[Scope]) -> str:
    if not scopes:
        return "Only a person may do this: use an operator's token."
    names = " or ".join(sorted(scope.value for scope in scopes))
    return f"This needs a key with the scope {names}."


def _sha256(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
