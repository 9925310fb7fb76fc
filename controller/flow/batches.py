"""Reading one batch of events: the good ones, the repeats, and why the others were refused.

Most batches are plain: ASCII without escapes, every field of the right type. Those are read by one
typed decoder. Anything unusual is read again item by item under the rules of `events.contracts`,
which name what is wrong. Both ways accept the same events; a test holds them together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Annotated, Any, Final

import msgspec

from controller.errors import InvalidInput
from controller.events.contracts import (
    MAX_ATTRIBUTES,
    MAX_ATTRIBUTES_BYTES,
    MAX_ID_BYTES,
    MAX_VALUE,
    Event,
    Exposure,
    Rejection,
    TimeRules,
    validate,
)
from controller.events.contracts import Outcome as ContractOutcome

MOST_EVENTS: Final = 500
MOST_BATCH_ID: Final = 128
ID_REUSE: Final = "id_reuse"

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID_BYTES)]
Number = Annotated[float, msgspec.Meta(ge=-MAX_VALUE, le=MAX_VALUE)]
Whole = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Instant = Annotated[datetime, msgspec.Meta(tz=True)]
_Int = Annotated[int, msgspec.Meta(ge=-int(MAX_VALUE), le=int(MAX_VALUE))]
Attributes = Annotated[
    dict[Id, str | _Int | Number | bool | None], msgspec.Meta(max_length=MAX_ATTRIBUTES)
]


class Exposed(
    msgspec.Struct, tag="exposure", tag_field="type", forbid_unknown_fields=True, kw_only=True
):
    """`events.contracts.Exposure` on the wire."""

    event_id: Id
    occurred_at: Instant
    slot: Id
    unit: Id
    arm: Id
    ruleset: Whole
    reason: Id
    rollout: Id | None = None
    allocation: Whole | None = None
    attributes: Attributes | None = None


class Outcome(
    msgspec.Struct, tag="outcome", tag_field="type", forbid_unknown_fields=True, kw_only=True
):
    """`events.contracts.Outcome` on the wire."""

    event_id: Id
    occurred_at: Instant
    name: Id
    unit: Id | None = None
    ref: Id | None = None
    value: Number | None = None
    slot: Id | None = None
    unit_type: Id | None = None
    corrects: Id | None = None
    attributes: Attributes | None = None


class Predicted(
    msgspec.Struct, tag="prediction", tag_field="type", forbid_unknown_fields=True, kw_only=True
):
    """`events.contracts.Prediction` on the wire."""

    event_id: Id
    occurred_at: Instant
    slot: Id
    unit: Id
    ref: Id
    arm: Id
    model: Id
    rollout: Id | None = None
    allocation: Whole | None = None
    score: Number | None = None
    attributes: Attributes | None = None


WireEvent = Exposed | Outcome | Predicted


class _Plain(msgspec.Struct, forbid_unknown_fields=True):
    events: Annotated[list[WireEvent], msgspec.Meta(min_length=1, max_length=MOST_EVENTS)]
    batch_id: str | None = None
    schema: int = 1


class _Loose(msgspec.Struct, forbid_unknown_fields=True):
    events: list[Any]
    batch_id: str | None = None
    schema: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """One refused event: its place in the batch, a stable code and a sentence."""

    index: int
    code: str
    detail: str

    def document(self) -> dict[str, Any]:
        """The JSON form."""
        return {"index": self.index, "code": self.code, "detail": self.detail}


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One batch as read.

    Attributes
    ----------
    events : sequence of (index, event)
        Good events, each id once.
    duplicates : int
        Items that repeat an earlier item of this batch word for word.
    """

    batch_id: str | None
    events: Sequence[tuple[int, WireEvent]]
    duplicates: int
    refused: Sequence[Refused]


def read_batch(body: bytes, received_at: datetime) -> Batch:
    """The events of one request body.

    Raises
    ------
    InvalidInput
        If the body as a whole is not a batch: not JSON, no events, more than 500, a newer schema.
    """
    times = TimeRules(received_at=received_at)
    plain = _read_plain(body, times)
    if plain is not None:
        return _settle(plain.batch_id, list(enumerate(plain.events)), [])
    loose = _read_loose(body)
    good: list[tuple[int, WireEvent]] = []
    refused: list[Refused] = []
    for index, document in enumerate(loose.events):
        event = validate(document, index, times)
        if isinstance(event, Rejection):
            refused.append(Refused(index=index, code=event.code.value, detail=event.detail))
        else:
            good.append((index, wire(event)))
    return _settle(loose.batch_id, good, refused)


def event_digest(event: WireEvent) -> bytes:
    """16 bytes that a repeat of the event shares, whatever the order of its keys."""
    return blake2b(_ENCODER.encode(event), digest_size=16).digest()


def event_json(event: WireEvent) -> bytes:
    """The event as canonical JSON."""
    return _ENCODER.encode(event)


def wire(event: Event) -> WireEvent:
    """A validated event in its wire form, times in UTC."""
    fields = {name: getattr(event, name) for name in event.__slots__}
    fields["occurred_at"] = event.occurred_at.astimezone(UTC)
    if isinstance(event, Exposure):
        return Exposed(**fields)
    return Outcome(**fields) if isinstance(event, ContractOutcome) else Predicted(**fields)


_ENCODER: Final = msgspec.json.Encoder(order="deterministic")
_PLAIN_DECODER: Final = msgspec.json.Decoder(_Plain)
_LOOSE_DECODER: Final = msgspec.json.Decoder(_Loose)


def _read_plain(body: bytes, times: TimeRules) -> _Plain | None:
    """The batch if nothing about it is unusual; None sends it to the item-by-item reading."""
    # ASCII without escapes and DEL: no string in it can hold a control character.
    if not body.isascii() or b"\\" in body or b"\x7f" in body:
        return None
    try:
        batch = _PLAIN_DECODER.decode(body)
    except msgspec.DecodeError:
        return None
    if batch.schema != 1 or not _plain_id(batch.batch_id):
        return None
    oldest, newest = times.received_at - times.max_age, times.received_at + times.max_skew
    for event in batch.events:
        if not oldest <= event.occurred_at <= newest or not _whole(event):
            return None
        if event.occurred_at.tzinfo is not UTC:
            event.occurred_at = event.occurred_at.astimezone(UTC)
    return batch


def _whole(event: WireEvent) -> bool:
    """Whether the fields that belong together are there together, and attributes are small."""
    if event.attributes is not None and _size(event.attributes) > MAX_ATTRIBUTES_BYTES:
        return False
    if isinstance(event, Outcome):
        if event.unit is None:
            return event.ref is not None and event.slot is not None
        return event.ref is None
    return (event.rollout is None) == (event.allocation is None)


def _size(attributes: Mapping[str, object]) -> int:
    texts = sum(len(value) for value in attributes.values() if isinstance(value, str))
    return texts + sum(map(len, attributes))


def _plain_id(batch_id: str | None) -> bool:
    return batch_id is None or 0 < len(batch_id) <= MOST_BATCH_ID


def _read_loose(body: bytes) -> _Loose:
    try:
        batch = _LOOSE_DECODER.decode(body)
    except msgspec.ValidationError as problem:
        raise InvalidInput(f"This is not a batch of events: {problem}.", field="body") from problem
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise InvalidInput(f"The body is not valid JSON: {problem}.", field="body") from problem
    if batch.schema != 1:
        raise InvalidInput("schema: this service reads events of schema 1.", field="schema")
    if not _plain_id(batch.batch_id) or not (batch.batch_id or "-").isprintable():
        raise InvalidInput(
            f"batch_id: expected 1 to {MOST_BATCH_ID} printable characters.", field="batch_id"
        )
    if not 1 <= len(batch.events) <= MOST_EVENTS:
        raise InvalidInput(
            f"events: expected 1 to {MOST_EVENTS} events, got {len(batch.events)}.", field="events"
        )
    return batch


def _settle(
    batch_id: str | None, good: Sequence[tuple[int, WireEvent]], refused: list[Refused]
) -> Batch:
    """Set repeats inside the batch aside; the same id with other content is refused."""
    seen = {event.event_id: event for _, event in reversed(good)}
    if len(seen) == len(good):
        return Batch(batch_id=batch_id, events=good, duplicates=0, refused=refused)
    kept: list[tuple[int, WireEvent]] = []
    duplicates = 0
    for index, event in good:
        first = seen[event.event_id]
        if first is event:
            kept.append((index, event))
        elif event_digest(first) == event_digest(event):
            duplicates += 1
        else:
            detail = f"event_id {event.event_id!r:.80} is used twice in this batch."
            refused.append(Refused(index=index, code=ID_REUSE, detail=detail))
    refused.sort(key=lambda item: item.index)
    return Batch(batch_id=batch_id, events=kept, duplicates=duplicates, refused=refused)
