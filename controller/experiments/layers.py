"""A layer: slots of one unit type whose rollouts may not meet the same units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from controller.errors import InvalidInput
from controller.experiments.document import Fields, check_key, parse_share
from controller.experiments.holdouts import named

LEAST_SHARE = 0.0001
MOST_SLOTS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Mutual exclusion: each slot owns a part of the units, and no unit has two owners.

    Attributes
    ----------
    unit : str
        The unit type of every slot in it.
    slots : mapping of slot to float
        Share of the units that the slot's rollouts may reach, in [0.0001, 1]. They add up to at
        most 1; the rest belongs to nobody.
    """

    name: str
    unit: str
    slots: Mapping[str, float] = field(default_factory=dict)
    description: str = ""

    def document(self) -> dict[str, Any]:
        """The JSON form, complete and explicit."""
        return {
            "name": self.name,
            "unit": self.unit,
            "slots": dict(self.slots),
            "description": self.description,
        }

    @classmethod
    def from_document(cls, document: Any, *, name: str, where: str = "layer") -> Layer:
        """Read and check the JSON form; the name comes from the address.

        Raises
        ------
        InvalidInput
            Naming the field and the rule.
        """
        fields = Fields(document, where)
        layer = cls(
            name=named(fields, name),
            unit=fields.key("unit"),
            slots=_slots(fields),
            description=fields.text("description", "", most=2000),
        )
        fields.done()
        return layer


def _slots(fields: Fields) -> dict[str, float]:
    where, given = fields.at("slots"), fields.raw("slots", {})
    if not isinstance(given, Mapping) or len(given) > MOST_SLOTS:
        raise InvalidInput(
            f"{where}: expected an object of at most {MOST_SLOTS} slots with their shares.",
            field=where,
        )
    slots = {}
    for slot, share in given.items():
        key = check_key(slot, where)
        slots[key] = parse_share(share, f"{where}.{key}")
        if slots[key] < LEAST_SHARE:
            raise InvalidInput(
                f"{where}.{key}: a share is at least {LEAST_SHARE:g}, one bucket of 10,000; "
                "a slot that is left out meets every unit.",
                field=f"{where}.{key}",
            )
    total = sum((Decimal(repr(share)) for share in slots.values()), Decimal(0))
    if total > 1:
        raise InvalidInput(
            f"{where}: the shares add up to {total:f}; a unit has one owner, so 1 is the most.",
            field=where,
        )
    return slots
