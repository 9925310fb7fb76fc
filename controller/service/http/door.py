"""The outermost WSGI layer: addresses that cannot be read two ways, headers, one log line."""

from __future__ import annotations

import ipaddress
import logging
import re
import time
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes

from werkzeug.wrappers import Request

from controller.errors import ControllerError
from controller.service.http.calls import Answer
from controller.service.http.cors import PREFLIGHT, Origins, is_preflight
from controller.service.http.headers import with_security
from controller.service.http.pipeline import CALLER, ROUTE, Pipeline
from controller.service.http.problems import problem_answer, problem_of
from controller.service.http.refusals import (
    ONE_HOST,
    BadHost,
    BadPath,
    RouteNotFound,
    UriTooLong,
)
from controller.service.http.router import Router
from controller.telemetry import Telemetry

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)

MOST_URI: Final = 4096
_KNOWN_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
BODILESS: Final = frozenset({204, 304})
HEALTH: Final = frozenset({"/livez", "/readyz", "/metrics"})
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HARMLESS: Final = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)++/?")
_LINES: Final = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}
_HIDDEN_SEPARATOR: Final = re.compile(r"%2f|%5c|\\", re.IGNORECASE)


class Door:
    """Wraps the Flask application; serves the hot routes itself.

    Parameters
    ----------
    hosts : frozenset of str or None
        Host names this process answers for; None where it cannot know them.
    secure : bool
        Whether the outside reaches it by https.
    trusted_proxies : int
        How many entries of X-Forwarded-For come from proxies that are ours.
    """

    def __init__(
        self,
        inner: WSGIApplication,
        *,
        router: Router,
        pipeline: Pipeline,
        telemetry: Telemetry,
        origins: Origins,
        hosts: frozenset[str] | None,
        secure: bool,
        trusted_proxies: int = 0,
    ) -> None:
        self._inner = inner
        self._hot = router.hot
        self._wide = router.wide
        self._refusal_below = router.refusal_below
        self._quiet = frozenset(route.name for route in self._hot.values())
        self._pipeline = pipeline
        self._telemetry = telemetry
        self._origins = origins
        self._hosts = hosts
        self._secure = secure
        self._trusted_proxies = trusted_proxies

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        started = time.perf_counter()
        status_seen: list[int] = []
        granted = self._origins.grant(environ)
        if self._trusted_proxies:
            environ["REMOTE_ADDR"] = client_address(environ, self._trusted_proxies)

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            status_seen[:] = [int(status[:3])]
            secured = with_security([*headers, *granted], secure=self._secure)
            return start_response(status, secured, exc_info)

        try:
            if granted[1:] and is_preflight(environ):
                return send(Answer(status=204, headers=dict(PREFLIGHT)), environ, start)
            return self._respond(environ, start)
        finally:
            self._tell(environ, status_seen[0] if status_seen else 500, started)

    def _respond(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        try:
            check_address(environ, wide=self._wide)
            self._check_host(environ)
        except ControllerError as error:
            return send(self._refuse(error, environ), environ, start)
        method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")
        # What ends with a slash names a route's fixed part, not a route.
        route, parts = None if path.endswith("/") else self._hot.get((method, path)), {}
        if route is None:
            above, _, last = path.rpartition("/")
            route = self._hot.get((method, f"{above}/"))
            if route is None or not last:
                return self._inner(environ, start)
            parts = {route.parts[0]: last.encode("latin-1").decode("utf-8", "replace")}
        return send(self._pipeline(route, Request(environ), parts), environ, start)

    def _refuse(self, error: ControllerError, environ: WSGIEnvironment) -> Answer:
        path = environ.get("PATH_INFO", "")
        problem = problem_of(error, instance=path[:200])
        return (self._refusal_below(path) or problem_answer)(problem)

    def _check_host(self, environ: WSGIEnvironment) -> None:
        host = environ.get("HTTP_HOST")
        if (host is None and environ.get("SERVER_PROTOCOL") == "HTTP/1.1") or "," in (host or ""):
            raise BadHost(ONE_HOST)
        if self._hosts is None or environ.get("PATH_INFO") in HEALTH:
            return
        if host_name(host or "") not in self._hosts:
            raise BadHost(
                "This service does not answer for that host; set CONTROLLER_PUBLIC_URL to the "
                "address people use."
            )

    def _tell(self, environ: WSGIEnvironment, status: int, started: float) -> None:
        name = environ.get(ROUTE, "none")
        method = _known_method(environ["REQUEST_METHOD"])
        self._telemetry.count("http_requests", route=name, method=method, status=str(status))
        quiet = status < 400 and (environ.get("PATH_INFO") in HEALTH or name in self._quiet)
        level = logging.DEBUG if quiet else logging.INFO
        if not log.isEnabledFor(level):
            return
        log.log(
            level,
            "request",
            extra={
                "route": name,
                "method": method,
                "status": status,
                "milliseconds": round((time.perf_counter() - started) * 1000, 2),
                "caller": environ.get(CALLER, "nobody"),
            },
        )


def send(answer: Answer, environ: Mapping[str, Any], start: StartResponse) -> Iterable[bytes]:
    """Write an answer as WSGI."""
    headers = list(answer.headers.items())
    if answer.status not in BODILESS:
        headers.append(("Content-Type", answer.media))
        if isinstance(answer.body, bytes):
            headers.append(("Content-Length", str(len(answer.body))))
    start(_LINES[answer.status], headers)
    if environ["REQUEST_METHOD"] == "HEAD" or answer.status in BODILESS:
        return ()
    return (answer.body,) if isinstance(answer.body, bytes) else answer.body


def check_address(environ: Mapping[str, Any], *, wide: re.Pattern[str] | None = None) -> None:
    """Refuse an address that a proxy and this service could read differently.

    Parameters
    ----------
    wide : pattern or None
        Beginnings of addresses behind which one part takes the rest, slashes and all. An encoded
        slash is no ambiguity there: decoded or not, it belongs to that part.

    Raises
    ------
    UriTooLong, BadPath, RouteNotFound
        See `docs/reference/problems/`.
    """
    uri = environ.get("RAW_URI") or environ.get("REQUEST_URI") or environ.get("PATH_INFO", "/")
    if len(uri) > MOST_URI:
        raise UriTooLong
    path = uri.partition("?")[0]
    if not _HARMLESS.fullmatch(path):
        _check_path(path, wide)


def _check_path(path: str, wide: re.Pattern[str] | None) -> None:
    if not path.startswith("/") or ";" in path or _BAD_ESCAPE.search(path):
        raise BadPath
    fixed = wide.match(path) if wide is not None else None
    if "//" in path or _HIDDEN_SEPARATOR.search(path, 0, fixed.end() if fixed else len(path)):
        raise RouteNotFound
    try:
        decoded = unquote_to_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadPath("The address is not UTF-8.") from error
    if any(part in (".", "..") for part in decoded.split("/")) or any(
        character < " " or character == "\x7f" for character in decoded
    ):
        raise BadPath


def client_address(environ: Mapping[str, Any], proxies: int) -> str:
    """Who stands before our outermost proxy, by what our proxies wrote; else who called us."""
    hops = [hop.strip() for hop in environ.get("HTTP_X_FORWARDED_FOR", "").split(",")]
    caller: str = environ.get("REMOTE_ADDR", "")
    if len(hops) < proxies:
        return caller
    try:
        return str(ipaddress.ip_address(hops[-proxies]))
    except ValueError:
        return caller


def host_name(host: str) -> str:
    """The name in a Host header, without its port."""
    if host.startswith("["):
        return host.partition("]")[0].removeprefix("[").lower()
    return host.partition(":")[0].lower()


def _known_method(method: str) -> str:
    return method if method in _KNOWN_METHODS else "other"
