"""A producer declares through when its outcomes are complete."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from controller.errors import Conflict, InvalidInput
from controller.events.times import format_time
from controller.experiments.document import check_key
from controller.flow.ports.ingest import IngestStore

MOST_SOURCE: Final = 128
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICRO = timedelta(microseconds=1)


def declare_complete(
    store: IngestStore,
    project: str,
    outcome: str,
    *,
    through: datetime,
    source: str = "default",
    actor: str,
) -> None:
    """Store a producer's word that every outcome up to `through` has been sent.

    It counts once everything received before it has been aggregated. Where several sources
    declare one outcome, it is complete through the oldest of their last words.

    Raises
    ------
    InvalidInput
        If the name is no outcome's name, the instant lies in the future, or the source is unusable.
    Conflict
        If this source has declared a later instant before: a declaration is not taken back.
    """
    check_key(outcome, "name")
    if not 1 <= len(source) <= MOST_SOURCE or not source.isprintable():
        raise InvalidInput(
            f"source: expected 1 to {MOST_SOURCE} printable characters.", field="source"
        )
    through_us = (through - _EPOCH) // _MICRO
    with store.maturing() as work:
        if through_us > work.now_us:
            raise InvalidInput(
                "through: lies in the future; declare what has been sent.", field="through"
            )
        said = [one for one in work.clock.declarations(project, outcome) if one.source == source]
        latest = max((one.through_us for one in said), default=0)
        if through_us < latest:
            instant = format_time(_EPOCH + latest * _MICRO)
            raise Conflict(f"{outcome} was declared complete through {instant} before.")
        work.clock.declare(project, outcome, source, through_us=through_us, actor=actor)
