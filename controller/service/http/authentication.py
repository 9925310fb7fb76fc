"""Who a request comes from: a service key, an operator's token, or nobody.

Keys and tokens are looked up in SQL and remembered for two seconds, so that a revocation reaches
every process within that time. While the database is away, a caller it confirmed within the last
quarter of an hour is still let in: an outage must not take assignment down with it.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Final

from werkzeug.wrappers import Request

from controller.assignment.signature import same_key, split_key
from controller.errors import InvalidInput, Unauthenticated, Unavailable
from controller.experiments.document import check_key
from controller.flow.actors import Actor
from controller.flow.passwords import secret_hash
from controller.flow.people import TOKEN_PREFIX, ended
from controller.flow.ports.people import Operator
from controller.flow.ports.work import Store
from controller.service.http.calls import Caller
from controller.service.http.refusals import BadRequest

FRESH_SECONDS: Final = 2.0
WHILE_ASKING_SECONDS: Final = 5.0
PAUSE_SECONDS: Final = 2.0
OUTAGE_SECONDS: Final = 900.0
MOST_REMEMBERED: Final = 10_000
MOST_CREDENTIAL: Final = 256
PROJECT_HEADER: Final = "Controller-Project"
DEFAULT_PROJECT: Final = "default"
UNKNOWN: Final = "The key or token is unknown, revoked or expired."


@dataclass(frozen=True, slots=True)
class _Known:
    caller: Caller
    at: float


class Authenticator:
    """Turns the Authorization header into a caller. Safe to share between threads."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._lock = Lock()
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._asking: set[str] = set()
        self._failed_at = -PAUSE_SECONDS

    def bearer(self, request: Request) -> Caller:
        """The caller of a request that carries a key or a token.

        Raises
        ------
        Unauthenticated
            If it carries none, or one that is unknown, revoked or expired.
        BadRequest
            If it carries more than one.
        """
        text = _credential(request)
        caller = self._caller(text)
        if caller.key is not None:
            return caller
        project = request.headers.get(PROJECT_HEADER)
        if project is None:
            return caller
        return Caller(actor=caller.actor, project=check_key(project, PROJECT_HEADER))

    def _caller(self, text: str) -> Caller:
        name = secret_hash(text)
        known = self._known.get(name)
        now = self._clock()
        if known is not None and now - known.at < self._trusted_seconds(name, now):
            return known.caller
        self._asking.add(name)
        try:
            caller = self._look_up(text)
        except Unavailable:
            self._failed_at = self._clock()
            if known is not None and now - known.at < OUTAGE_SECONDS:
                return known.caller
            raise
        except Unauthenticated:
            with self._lock:
                self._known.pop(name, None)
            raise
        finally:
            self._asking.discard(name)
        self._remember(name, _Known(caller, now))
        return caller

    def _trusted_seconds(self, name: str, now: float) -> float:
        """For how long a caller is believed without asking again.

        One thread asks for a caller at a time and the others go on meanwhile; after a failure
        nobody asks for two seconds. So a database that hangs holds one thread, not all of them.
        """
        if now - self._failed_at < PAUSE_SECONDS:
            return OUTAGE_SECONDS
        return WHILE_ASKING_SECONDS if name in self._asking else FRESH_SECONDS

    def _remember(self, name: str, known: _Known) -> None:
        with self._lock:
            self._known[name] = known
            self._known.move_to_end(name)
            if len(self._known) > MOST_REMEMBERED:
                self._known.popitem(last=False)

    def _look_up(self, text: str) -> Caller:
        return self._by_token(text) if text.startswith(TOKEN_PREFIX) else self._by_key(text)

    def _by_token(self, text: str) -> Caller:
        with self._store.reading() as work:
            operator = work.people.by_token(secret_hash(text))
        if operator is None:
            raise Unauthenticated(UNKNOWN)
        return Caller(actor=person(operator, method="token"), project=DEFAULT_PROJECT)

    def _by_key(self, text: str) -> Caller:
        try:
            key_id, half, _ = split_key(text)
        except InvalidInput as error:
            raise Unauthenticated(UNKNOWN) from error
        with self._store.reading() as work:
            key = work.people.key(key_id)
            now = work.now
        if key is None or not same_key(half, key.auth_hash) or ended(key, now):
            raise Unauthenticated(UNKNOWN)
        actor = Actor(name=f"key:{key.key_id}", kind="key", scopes=key.scopes, method="key")
        return Caller(actor=actor, project=key.project, key=key)


def person(operator: Operator, *, method: str, channel: str = "api") -> Actor:
    """The actor that an authenticated operator is."""
    return Actor(
        name=operator.name, kind="operator", roles=operator.roles, channel=channel, method=method
    )


def _credential(request: Request) -> str:
    # A header that was sent twice stands here once, joined by a comma.
    sent: str | None = request.environ.get("HTTP_AUTHORIZATION")
    bare: str | None = request.environ.get("HTTP_X_API_KEY")
    if (sent is not None and bare is not None) or "," in (sent or ""):
        raise BadRequest("Send one Authorization header.")
    if bare is not None and bare.isascii() and len(bare) <= MOST_CREDENTIAL:
        return bare
    scheme, _, text = (sent or "").partition(" ")
    if scheme != "Bearer" or not text or len(text) > MOST_CREDENTIAL or not text.isascii():
        raise Unauthenticated("Send `Authorization: Bearer KEY`, with a service key or a token.")
    return text
