"""Signed-in browsers: sessions on the server, one cookie, a CSRF token, throttled sign-in.

The cookie holds 256 random bits and nothing else. It is renewed at every sign-in, ends after 30
idle minutes or 12 hours, and is never read by the JSON API: a stolen link cannot ride on it.
What gives power away asks for the password again once it was last given a quarter of an hour ago.
"""

from __future__ import annotations

import hmac
import secrets
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from werkzeug.wrappers import Request

from controller.errors import Unauthenticated
from controller.flow.passwords import new_secret, secret_hash
from controller.flow.people import verify_password
from controller.flow.ports.people import Operator, Session
from controller.flow.ports.work import Store
from controller.service.http.authentication import DEFAULT_PROJECT, person
from controller.service.http.calls import Caller
from controller.service.http.limits import SignInThrottle
from controller.service.http.refusals import CsrfRefused, NotConfirmed

IDLE: Final = timedelta(minutes=30)
LIFE: Final = timedelta(hours=12)
CONFIRM_AFTER: Final = timedelta(minutes=15)
TOUCH_EVERY: Final = timedelta(minutes=1)
CSRF_HEADER: Final = "X-CSRF-Token"
CSRF_FIELD: Final = "csrf_token"
SIGNED_OUT: Final = "Sign in first; a session ends after 30 idle minutes."


class Sessions:
    """Starts, finds and ends sessions.

    Parameters
    ----------
    secure : bool
        Whether browsers reach the console by https: then the cookie has the `__Host-` prefix.
    """

    def __init__(self, store: Store, *, secure: bool, throttle: SignInThrottle) -> None:
        self._store = store
        self._throttle = throttle
        self.secure = secure
        self.cookie = "__Host-controller" if secure else "controller_session"

    def sign_in(self, request: Request, name: str, password: str) -> tuple[Operator, str]:
        """The operator of a name and password, and the Set-Cookie header of a new session.

        Raises
        ------
        Unauthenticated, RateLimited
            As for `verified`.
        """
        operator = self.verified(request, name, password)
        self.end(request)
        return operator, self.start(operator)

    def verified(self, request: Request, name: str, password: str) -> Operator:
        """The operator of a name and password; guessing is slowed down.

        Raises
        ------
        Unauthenticated
            In the same words whatever was wrong.
        RateLimited
            After too many wrong passwords for this name or from this address.
        """
        address = request.remote_addr or "unknown"
        self._throttle.check(name, address)
        try:
            operator = verify_password(self._store, name, password)
        except Unauthenticated:
            self._throttle.failed(name, address)
            raise
        self._throttle.succeeded(name, address)
        return operator

    def confirm(self, request: Request, session: Session, password: str) -> None:
        """Make sure that who decides is who signed in: by a recent password, or by this one.

        Raises
        ------
        NotConfirmed
            If the password was last given too long ago, and this one is empty or wrong.
        RateLimited
            As for `verified`: an open browser is no place to guess.
        """
        with self._store.reading() as work:
            fresh = is_fresh(session, work.now)
        if fresh:
            return
        if not password:
            raise NotConfirmed
        try:
            self.verified(request, session.operator, password)
        except Unauthenticated as error:
            raise NotConfirmed("That is not your password; nothing was done.") from error
        with self._store.writing() as work:
            work.people.confirm_session(session.id_hash, at=work.now)
            work.audit.append(
                DEFAULT_PROJECT,
                at=work.now,
                actor=session.operator,
                action="confirmed_password",
                object=f"operator/{session.operator}",
            )

    def start(self, operator: Operator) -> str:
        """Open a session; the Set-Cookie header that carries it."""
        cookie = new_secret("")
        with self._store.writing() as work:
            now = work.now
            work.people.forget_sessions(seen_before=now - IDLE)
            work.people.add_session(
                Session(
                    id_hash=secret_hash(cookie),
                    operator=operator.name,
                    csrf=secrets.token_urlsafe(32),
                    created_at=now,
                    seen_at=now,
                    authenticated_at=now,
                )
            )
            work.audit.append(
                DEFAULT_PROJECT,
                at=now,
                actor=operator.name,
                action="signed_in",
                object=f"operator/{operator.name}",
            )
        return self._set_cookie(cookie, int(LIFE.total_seconds()))

    def find(self, request: Request) -> Caller:
        """The caller whose cookie this is.

        Raises
        ------
        Unauthenticated
            If there is no living session behind it, or the operator is gone.
        """
        cookie = request.cookies.get(self.cookie)
        if not cookie or len(cookie) > 256:
            raise Unauthenticated(SIGNED_OUT)
        with self._store.reading() as work:
            now = work.now
            session = work.people.session(secret_hash(cookie))
            operator = work.people.operator(session.operator) if session else None
        if session is None or operator is None or not operator.active:
            raise Unauthenticated(SIGNED_OUT)
        if now - session.seen_at > IDLE or now - session.created_at > LIFE:
            raise Unauthenticated(SIGNED_OUT)
        if now - session.seen_at > TOUCH_EVERY:
            with self._store.writing() as work:
                work.people.touch_session(session.id_hash, at=now)
        actor = person(operator, method="session", channel="console")
        return Caller(actor=actor, project=DEFAULT_PROJECT, session=session)

    def end(self, request: Request) -> str:
        """Sign this browser out; the Set-Cookie header that clears its cookie."""
        cookie = request.cookies.get(self.cookie)
        if cookie:
            with self._store.writing() as work:
                work.people.end_session(secret_hash(cookie))
        return self._set_cookie("", 0)

    def _set_cookie(self, value: str, seconds: int) -> str:
        secure = "; Secure" if self.secure else ""
        return f"{self.cookie}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"


def is_fresh(session: Session, now: datetime) -> bool:
    """Whether the session's operator gave their password recently enough to decide."""
    return now - session.authenticated_at < CONFIRM_AFTER


def check_csrf(request: Request, session: Session, field: str | None) -> None:
    """Refuse an unsafe request that this console's own page, in this session, did not make.

    Raises
    ------
    CsrfRefused
        If the token is not the session's, or the browser says another site sent the request.
    """
    check_same_origin(request)
    token = request.headers.get(CSRF_HEADER) or field or ""
    if not hmac.compare_digest(token.encode(), session.csrf.encode()):
        raise CsrfRefused


def check_same_origin(request: Request) -> None:
    """Refuse an unsafe request that a browser sends for another site.

    Raises
    ------
    CsrfRefused
        If Sec-Fetch-Site or Origin names another site. A client that sends neither is no browser.
    """
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise CsrfRefused
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("Host"):
        raise CsrfRefused
