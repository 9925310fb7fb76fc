"""Signed exposures that have not happened yet: what a bulk evaluation hands out for later."""

from __future__ import annotations

import base64
import hmac
import json
from hashlib import sha256
from typing import Final

from controller.assignment.choice import Choice, Reason
from controller.errors import InvalidInput

LIFE_SECONDS: Final = 86_400
_LABEL: Final = b"rollout-controller exposure token 1\n"


def sign_exposure(secret: str, project: str, choice: Choice, unit: str, *, now: float) -> str:
    """A token that says: this unit of this project may be exposed to this answer until tomorrow."""
    parts = [
        project,
        choice.slot,
        unit,
        choice.rollout,
        choice.allocation,
        choice.arm,
        choice.ruleset,
        choice.reason.value,
        int(now) + LIFE_SECONDS,
    ]
    body = json.dumps(parts, separators=(",", ":"), ensure_ascii=True).encode()
    return f"{_text(body)}.{_text(_signature(secret, body))}"


def read_exposure(secret: str, project: str, token: str, *, now: float) -> tuple[Choice, str]:
    """The answer and the unit of a token.

    Raises
    ------
    InvalidInput
        If it was not signed here for this project, or its day is over.
    """
    first, _, second = token.partition(".")
    try:
        body, signature = _bytes(first), _bytes(second)
    except ValueError as error:
        raise InvalidInput("This is not an exposure token.", field="tokens") from error
    if not hmac.compare_digest(signature, _signature(secret, body)):
        raise InvalidInput("This exposure token was not given out here.", field="tokens")
    of, slot, unit, rollout, allocation, arm, ruleset, reason, ends = json.loads(body)
    if of != project:
        raise InvalidInput("This exposure token was not given out here.", field="tokens")
    if ends < now:
        raise InvalidInput("This exposure token is over; evaluate again.", field="tokens")
    choice = Choice(
        slot=slot,
        arm=arm,
        model=None,
        payload=None,
        reason=Reason(reason),
        rollout=rollout,
        allocation=allocation,
        ruleset=ruleset,
        exposed=True,
    )
    return choice, unit


def _signature(secret: str, body: bytes) -> bytes:
    return hmac.digest(secret.encode(), _LABEL + body, sha256)


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
