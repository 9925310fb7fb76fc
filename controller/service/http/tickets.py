"""Tickets for the stream: how its process, which reads no SQL, knows that a key was checked."""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import Final

from controller.errors import Unauthenticated

LIFE_SECONDS: Final = 60
_LABEL: Final = "rollout-controller stream ticket 1"


def sign_ticket(secret: str, project: str, *, now: float) -> str:
    """A ticket for one project's stream, good for 60 s.

    Parameters
    ----------
    secret : str
        The deployment's secret key, which web and stream share.
    now : float
        Unix seconds.
    """
    ends = int(now) + LIFE_SECONDS
    return f"{project}~{ends}~{_signature(secret, project, ends)}"


def read_ticket(secret: str, ticket: str, *, now: float) -> str:
    """The project of a ticket.

    Raises
    ------
    Unauthenticated
        If it was not signed here, or its time is over.
    """
    project, _, rest = ticket.partition("~")
    ends, _, signature = rest.partition("~")
    if not (ends.isascii() and ends.isdigit() and len(ends) <= 12):
        raise Unauthenticated("This is not a ticket.")
    expected = _signature(secret, project, int(ends))
    if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace")):
        raise Unauthenticated("This ticket was not given out here.")
    if int(ends) < now:
        raise Unauthenticated("This ticket is over; ask for another.")
    return project


def _signature(secret: str, project: str, ends: int) -> str:
    message = "\n".join((_LABEL, project, str(ends)))
    return hmac.new(secret.encode(), message.encode("utf-8", "surrogatepass"), sha256).hexdigest()
