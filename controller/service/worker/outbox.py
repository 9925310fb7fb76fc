"""Send what is due: side effects that were committed with their cause."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Protocol

from controller.errors import ControllerError, Unavailable
from controller.flow.ports.control import Message
from controller.flow.ports.work import Store

log = logging.getLogger(__name__)

FIRST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(minutes=5)
MOST_DOUBLINGS = 9


class Sender(Protocol):
    """Carries one kind of message to the world; idempotent."""

    def send(self, message: Message) -> None: ...


def send_due(store: Store, senders: Mapping[str, Sender], *, most: int = 50) -> bool:
    """Carry out up to `most` side effects; whether there was any.

    A crash between carrying one out and writing that down repeats it, which changes nothing.
    """
    with store.reading() as work:
        messages = work.outbox.due(work.now, most=most)
    for message in messages:
        try:
            _sender(senders, message).send(message)
        except ControllerError as problem:
            _postpone(store, message, problem)
        else:
            with store.writing() as work:
                work.outbox.done(message.project, message.id, at=work.now)
    return bool(messages)


def _sender(senders: Mapping[str, Sender], message: Message) -> Sender:
    if message.kind not in senders:
        raise Unavailable(f"This version does not know how to send {message.kind!r}.")
    return senders[message.kind]


def _postpone(store: Store, message: Message, problem: ControllerError) -> None:
    pause = min(FIRST_PAUSE * 2 ** min(message.attempts, MOST_DOUBLINGS), LONGEST_PAUSE)
    log.warning(
        "message_waits",
        extra={"kind": message.kind, "why": problem.message, "again_in": str(pause)},
    )
    with store.writing() as work:
        work.outbox.failed(
            message.project, message.id, error=problem.message, retry_at=work.now + pause
        )
