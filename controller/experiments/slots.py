"""A slot: a stable place where a model serves, and what counts there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from controller.errors import InvalidInput
from controller.experiments.document import Fields, check_key
from controller.experiments.models import Model


class Goal(StrEnum):
    """What the challenger must show on the OEC."""

    SUPERIOR = "superior"
    NOT_WORSE = "not_worse"


class Hash(StrEnum):
    """What splits the units of rollouts created from now on; a live rollout keeps its own."""

    SHA256 = "sha256"
    XXH3 = "xxh3"

    @property
    def algo(self) -> int:
        """Its id in rulesets (`assignment/hashing.py`)."""
        return 2 if self is Hash.XXH3 else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Oec:
    """The one metric that decides.

    Attributes
    ----------
    mde, mde_relative : float or None
        Smallest effect worth finding, absolute or as a fraction of champion.
    margin : float or None
        Tolerated harm, a positive size, for the goal `not_worse`.
    """

    metric: str
    goal: Goal = Goal.SUPERIOR
    mde: float | None = None
    mde_relative: float | None = None
    margin: float | None = None

    def document(self) -> dict[str, Any]:
        """The JSON form."""
        parts = {
            "metric": self.metric,
            "goal": self.goal.value,
            "mde": self.mde,
            "mde_relative": self.mde_relative,
            "margin": self.margin,
        }
        return {key: value for key, value in parts.items() if value is not None}

    @classmethod
    def from_fields(cls, fields: Fields) -> Oec:
        """Read and check."""
        oec = cls(
            metric=fields.key("metric"),
            goal=fields.choice("goal", Goal, Goal.SUPERIOR),
            mde=fields.optional_number("mde", above=0),
            mde_relative=fields.optional_number("mde_relative", above=0),
            margin=fields.optional_number("margin", above=0),
        )
        fields.done()
        if oec.mde is not None and oec.mde_relative is not None:
            raise InvalidInput(
                f"{fields.where}: give mde or mde_relative, not both.", field=fields.where
            )
        if (oec.goal is Goal.NOT_WORSE) != (oec.margin is not None):
            raise InvalidInput(
                f"{fields.where}: a margin belongs to the goal not_worse, and that goal needs one.",
                field=fields.at("margin"),
            )
        return oec


@dataclass(frozen=True, slots=True, kw_only=True)
class Guardrail:
    """A metric that may not get worse than its margin (a positive size of harm)."""

    metric: str
    margin: float | None = None
    margin_relative: float | None = None

    def document(self) -> dict[str, Any]:
        """The JSON form."""
        parts = {
            "metric": self.metric,
            "margin": self.margin,
            "margin_relative": self.margin_relative,
        }
        return {key: value for key, value in parts.items() if value is not None}

    @classmethod
    def from_fields(cls, fields: Fields) -> Guardrail:
        """Read and check."""
        guardrail = cls(
            metric=fields.key("metric"),
            margin=fields.optional_number("margin", above=0),
            margin_relative=fields.optional_number("margin_relative", above=0, most=1),
        )
        fields.done()
        if (guardrail.margin is None) == (guardrail.margin_relative is None):
            raise InvalidInput(
                f"{fields.where}: give margin or margin_relative, a positive size of harm.",
                field=fields.where,
            )
        return guardrail


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """What counts in one place where a model serves.

    `eligible` is the condition tree of rollouts that state none themselves.
    """

    key: str
    unit: str
    champion: Model
    oec: Oec | None = None
    guardrails: tuple[Guardrail, ...] = ()
    policy: str = "cautious"
    other_policies: tuple[str, ...] = ()
    fallback: Model | None = None
    moving: bool = False
    observe: float = 0.05
    clients: bool = False
    bulk_expose: bool = False
    description: str = ""
    eligible: Mapping[str, Any] | None = None
    tags: tuple[str, ...] = ()
    hash: Hash = Hash.SHA256

    @property
    def policies(self) -> tuple[str, ...]:
        """Names of the policies a rollout in this slot may use; the first is the default."""
        return (self.policy, *self.other_policies)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Keys of the OEC and of every guardrail."""
        oec = (self.oec.metric,) if self.oec else ()
        return oec + tuple(guardrail.metric for guardrail in self.guardrails)

    def with_champion(self, champion: Model) -> Slot:
        """The same slot with another champion."""
        return replace(self, champion=champion)

    def document(self) -> dict[str, Any]:
        """The JSON form, complete and explicit."""
        return {
            "key": self.key,
            "unit": self.unit,
            "champion": self.champion.document(),
            "oec": self.oec.document() if self.oec else None,
            "guardrails": [guardrail.document() for guardrail in self.guardrails],
            "policy": self.policy,
            "other_policies": list(self.other_policies),
            "fallback": self.fallback.document() if self.fallback else None,
            "moving": self.moving,
            "observe": self.observe,
            "clients": self.clients,
            "bulk_expose": self.bulk_expose,
            "description": self.description,
            # Left out where there is none: plans from before eligibility keep their sha256.
            **({} if self.eligible is None else {"eligible": self.eligible}),
            # Left out where there are none: a plan stored before there were tags keeps its digest.
            **({"tags": list(self.tags)} if self.tags else {}),
            # Left out where it is the default, for the same reason.
            **({} if self.hash is Hash.SHA256 else {"hash": self.hash.value}),
        }

    @classmethod
    def from_document(cls, document: Any, *, key: str | None = None, where: str = "slot") -> Slot:
        """Read and check the JSON form; `key` may come from the path instead of the document.

        Raises
        ------
        InvalidInput
            Naming the field and the rule.
        """
        fields = Fields(document, where)
        named = fields.raw("key", key)
        if key is not None and named != key:
            raise InvalidInput(
                f"{where}.key: is {named!r:.60} but the address says {key!r}.", field="key"
            )
        slot = cls(
            key=check_key(named, f"{where}.key"),
            unit=fields.key("unit"),
            champion=Model.from_document(fields.raw("champion", {}), fields.at("champion")),
            oec=Oec.from_fields(fields.child("oec")) if fields.has("oec") else None,
            guardrails=tuple(
                Guardrail.from_fields(Fields(item, f"{fields.at('guardrails')}[{index}]"))
                for index, item in enumerate(fields.items("guardrails", most=50))
            ),
            policy=check_key(fields.raw("policy", "cautious"), fields.at("policy")),
            other_policies=tuple(
                check_key(name, fields.at("other_policies"))
                for name in fields.items("other_policies")
            ),
            fallback=Model.from_document(fields.raw("fallback"), fields.at("fallback"))
            if fields.has("fallback")
            else None,
            moving=fields.flag("moving", default=False),
            observe=fields.share("observe", 0.05),
            clients=fields.flag("clients", default=False),
            bulk_expose=fields.flag("bulk_expose", default=False),
            description=fields.text("description", "", most=2000),
            eligible=fields.raw("eligible"),
            tags=_tags(fields),
            hash=fields.choice("hash", Hash, Hash.SHA256),
        )
        fields.done()
        if len(set(slot.metrics)) != len(slot.metrics):
            raise InvalidInput(
                f"{where}: a metric stands once, as the OEC or as one guardrail.",
                field=fields.at("guardrails"),
            )
        return slot


def _tags(fields: Fields) -> tuple[str, ...]:
    """Names by which holdouts choose slots, each once."""
    tags = tuple(check_key(tag, fields.at("tags")) for tag in fields.items("tags", most=20))
    if len(set(tags)) != len(tags):
        raise InvalidInput(f"{fields.at('tags')}: a tag stands once.", field=fields.at("tags"))
    return tags
