"""The ruleset: everything assignment needs, as one immutable, versioned, canonical document.

`docs/reference/ruleset.md` describes the document key by key. Reading is lenient where the future
needs it (unknown keys are ignored; a slot whose rules this version cannot evaluate answers champion
and is listed) and strict where safety does (schema, version, an empty set of slots that does not
say it means it).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from controller.assignment.choice import Model
from controller.assignment.conditions import unreadable_part
from controller.assignment.digest import sha256
from controller.assignment.runs import Ranges, Runs
from controller.errors import RulesetRefused

if TYPE_CHECKING:
    from controller.assignment.evaluate import Evaluator

SCHEMA = 1
EVENT_SCHEMA = 1

Sticky = Literal["none", "exceptions", "all"]
KillTo = Literal["champion", "previous", "fallback"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """One model for every unit of the slot, now. Arm and reason say champion and KILLED."""

    to: KillTo
    model: Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A salted share of units in parts per million: a holdout, or what a slot at rest observes."""

    salt: str
    ppm: int
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Mutual exclusion: this slot's rollout owns the bucket ranges [start, end) of 10,000."""

    name: str
    salt: str
    ranges: Ranges


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """Arms given by hand to at most 1,000 units, named by `hashing.keyed_hash` under `key`."""

    key: str
    arms: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """What keeps units out of a slot's rollout before the split is asked."""

    overrides: Overrides | None = None
    holdouts: tuple[Share, ...] = ()
    layer: Layer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutRules:
    """How one live rollout splits its slot's units.

    Attributes
    ----------
    enrolled_ppm : int
        Share of eligible units that is split, in parts per million; the only thing a ramp changes.
    algo : int
        Which hash splits (`hashing.ALGORITHMS`), for the life of the rollout. Observe, holdouts,
        layer and overrides always use SHA-256: slots share them, whatever each splits with.
    runs : Runs
        ``((end, arm), ...)`` over 10,000 buckets.
    retired : Ranges
        Bucket ranges ``[start, end)`` that see the champion and are not analysed any more.
    eligible : mapping or None
        Condition tree (`conditions`); None admits every unit.
    aa : bool
        Both arms serve the champion's model (the A/A check).
    ends_at : int or None
        Unix second of the rollout's deadline: pins live 30 days longer.
    exceptions : str or None
        Digest of the side document that lists pinned exceptions for SDKs.
    keeps : tuple of int
        Earlier allocations, newest first, under another condition: a unit pinned in one of them
        keeps its arm though it has lost its eligibility, unless its bucket is retired.
    """

    id: str
    attempt: int
    allocation: int
    salt: str
    enrolled_ppm: int
    runs: Runs
    arms: Mapping[str, Model]
    retired: Ranges = ()
    algo: int = 1
    eligible: Mapping[str, Any] | None = None
    sticky: Sticky = "all"
    aa: bool = False
    ends_at: int | None = None
    exceptions: str | None = None
    keeps: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotRules:
    """Everything that decides what one slot answers.

    `unreadable` says why this version cannot evaluate the slot's rules; such a slot answers its
    champion with reason ERROR.
    """

    slot: str
    unit_type: str
    champion: Model | None
    fallback: Model | None = None
    kill: Kill | None = None
    observe: Share | None = None
    overrides: Overrides | None = None
    holdouts: tuple[Share, ...] = ()
    layer: Layer | None = None
    rollout: RolloutRules | None = None
    clients: bool = False
    bulk_expose: bool = False
    unreadable: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruleset:
    """One immutable version of every slot's rules in one project of one deployment."""

    project: str
    deployment: str
    version: int
    slots: Mapping[str, SlotRules]
    event_schema: int = EVENT_SCHEMA
    evaluators: dict[str, Evaluator] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_bytes(cls, body: bytes) -> Ruleset:
        """Read a document as it travels; see `from_document`."""
        import json

        try:
            document = json.loads(body, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise RulesetRefused(f"The ruleset is not readable JSON: {error}.") from error
        return cls.from_document(document)

    @classmethod
    def from_document(cls, document: object) -> Ruleset:
        """Read a parsed document.

        Raises
        ------
        RulesetRefused
            If the schema is newer than this version reads, a required part is missing or of the
            wrong type, or it has no slots and does not say so with ``"empty": true``.
        """
        from controller.assignment.document import read_ruleset

        return read_ruleset(document)

    def document(self) -> dict[str, Any]:
        """The JSON document of this ruleset."""
        from controller.assignment.document import write_ruleset

        return write_ruleset(self)

    def encode(self) -> bytes:
        """The canonical bytes: sorted keys, no spaces, UTF-8."""
        from controller.experiments.canonical import canonical_json

        return canonical_json(self.document())

    @property
    def unreadable(self) -> Mapping[str, str]:
        """Slots with rules that this version cannot evaluate, and why; the SDK counts them."""
        found: dict[str, str] = {}
        for name, rules in self.slots.items():
            problem = rules.unreadable
            if problem is None and rules.rollout and rules.rollout.eligible is not None:
                problem = unreadable_part(rules.rollout.eligible)
            if problem is not None:
                found[name] = problem
        return MappingProxyType(found)


def digest(body: bytes) -> str:
    """The sha256 (hex) of a ruleset's bytes: its ETag, and what its signature covers."""
    return sha256(body).hexdigest()


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")
