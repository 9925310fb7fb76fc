"""Carry a published ruleset to SDKs: a copy, and a note that there is a newer one."""

from __future__ import annotations

import logging
from collections.abc import Callable

from controller.errors import Unavailable
from controller.flow.ports.control import Message
from controller.flow.ports.rollouts import PublishedRuleset
from controller.flow.ports.work import Store

log = logging.getLogger(__name__)

Announce = Callable[[PublishedRuleset], object]


def at_once(announce: Announce) -> Callable[[PublishedRuleset], None]:
    """Tell everybody right after the commit, in the process that committed.

    This spares a kill the worker's round. The message in the outbox stays due and is the net: where
    Redis does not answer, nothing is raised here, and the worker sends it later.
    """

    def told(published: PublishedRuleset) -> None:
        try:
            announce(published)
        except Unavailable as problem:
            log.warning("note_waits", extra={"project": published.project, "why": problem.message})

    return told


class PublishedRulesetTraffic:
    """Sends messages of kind `ruleset`.

    The newest ruleset is sent, whichever version the message names: a late message must not bring
    an old one back, and the copy is set only if newer.

    Parameters
    ----------
    store : Store
        Where the truth is.
    announce : callable
        Stores the copy and tells the listeners; raises `Unavailable` where it cannot.
    """

    def __init__(self, store: Store, announce: Announce) -> None:
        self._store = store
        self._announce = announce

    def send(self, message: Message) -> None:
        """Tell everybody. Sending twice changes nothing.

        Raises
        ------
        Unavailable
            If it could not be sent; the message stays due.
        """
        with self._store.reading() as work:
            newest = work.rulesets.newest(message.project)
        if newest is not None:
            self._announce(newest)
