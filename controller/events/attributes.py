"""Which attributes an event can carry: one rule for the SDK and for the service's own events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from controller.events.contracts import (
    MAX_ATTRIBUTES,
    MAX_ATTRIBUTES_BYTES,
    MAX_ID_BYTES,
    MAX_VALUE,
)

_NOTHING: Final = object()


def fitting(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """The attributes an event can carry, first come first served within its limits.

    What does not fit is left out: attributes never cost the event itself.
    """
    kept: dict[str, Any] = {}
    size = 0
    for name, value in attributes.items():
        plain = _plain(value)
        cost = None if plain is _NOTHING else _cost(name, plain)
        if cost is None or size + cost > MAX_ATTRIBUTES_BYTES or len(kept) == MAX_ATTRIBUTES:
            continue
        size += cost
        kept[name] = plain
    return kept


def _plain(value: Any) -> object:
    """The value as JSON has it; `_NOTHING` for one that cannot travel.

    Only its type is asked: what stands in a data frame (`numpy.bool_`, `pandas.NA`, an array) may
    call itself equal to True, or refuse to be compared at all.
    """
    kind = type(value)
    if value is None or kind is bool:
        return value
    if issubclass(kind, str):
        return str.__str__(value)
    if issubclass(kind, int | float):  # numpy.float64 and members of an IntEnum, too
        number = int.__int__(value) if issubclass(kind, int) else float.__float__(value)
        return number if abs(number) <= MAX_VALUE else _NOTHING  # NaN is not
    return _NOTHING


def _cost(name: object, value: object) -> int | None:
    """Bytes an attribute takes; None for a name or a text that cannot travel."""
    if not isinstance(name, str) or not name or not name.isprintable():
        return None
    try:
        length = len(name.encode())
        text = len(value.encode()) if isinstance(value, str) else 0
    except UnicodeEncodeError:
        return None
    return length + text if length <= MAX_ID_BYTES else None
