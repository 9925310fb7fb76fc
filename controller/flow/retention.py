"""What the service forgets by itself, because nothing refers to it any more."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from controller.flow.ports.work import Store

BODIES_AT_ONCE: Final = 200
KEEP_REPLAYS: Final = timedelta(days=1)


def drop_old_rulesets(store: Store, *, keep: timedelta, most: int = BODIES_AT_ONCE) -> bool:
    """Drop bodies of rulesets that are older than `keep`, a bounded batch; whether more may wait.

    The ruleset in force keeps its body, whatever its age, and so does each that opened an epoch.
    Of the others version, digest and time stay: which ruleset an SDK had stays provable, and
    versions go on from the highest ever given out.

    Raises
    ------
    Unavailable
        If the database does not answer.
    """
    with store.writing() as work:
        return work.rulesets.drop_bodies(before=work.now - keep, most=most) == most


def forget_replays(store: Store, *, keep: timedelta = KEEP_REPLAYS) -> None:
    """Drop kept answers to Idempotency-Keys that nobody repeats any more.

    Raises
    ------
    Unavailable
        If the database does not answer.
    """
    with store.writing() as work:
        work.replays.forget(before=work.now - keep)
