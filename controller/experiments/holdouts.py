"""A holdout: a share of units that no rollout may reach, so that all of them can be judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from controller.errors import InvalidInput
from controller.experiments.document import Fields, check_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdout:
    """Units kept out of the rollouts of every slot of their type, or of those with a tag.

    Attributes
    ----------
    unit : str
        The unit type. A slot with another one is not touched.
    share : float
        Share of the units that is held out, in [0, 1]. A larger share holds out the same units
        and more.
    tag : str or None
        Only slots that carry it; None means every slot.
    """

    name: str
    unit: str
    share: float
    tag: str | None = None
    description: str = ""

    def reaches(self, *, unit: str, tags: tuple[str, ...]) -> bool:
        """Whether it keeps units out of a slot with this unit type and these tags."""
        return self.unit == unit and (self.tag is None or self.tag in tags)

    def document(self) -> dict[str, Any]:
        """The JSON form, complete and explicit."""
        return {
            "name": self.name,
            "unit": self.unit,
            "share": self.share,
            "tag": self.tag,
            "description": self.description,
        }

    @classmethod
    def from_document(cls, document: Any, *, name: str, where: str = "holdout") -> Holdout:
        """Read and check the JSON form; the name comes from the address.

        Raises
        ------
        InvalidInput
            Naming the field and the rule.
        """
        fields = Fields(document, where)
        holdout = cls(
            name=named(fields, name),
            unit=fields.key("unit"),
            share=fields.share("share"),
            tag=fields.key("tag") if fields.has("tag") else None,
            description=fields.text("description", "", most=2000),
        )
        fields.done()
        return holdout


def named(fields: Fields, name: str) -> str:
    """The name that the address gives, which a document may repeat but not contradict.

    Raises
    ------
    InvalidInput
        If it is no name, or the document says another one.
    """
    given = fields.raw("name", name)
    if given != name:
        raise InvalidInput(
            f"{fields.at('name')}: is {given!r:.60} but the address says {name!r}.",
            field=fields.at("name"),
        )
    return check_key(name, fields.at("name"))
