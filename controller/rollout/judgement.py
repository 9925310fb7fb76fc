"""What the judge says: a verdict with every clause it was weighed from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from controller.rollout.states import State, Verdict


class Result(StrEnum):
    """How one clause came out."""

    PASS = "pass"  # noqa: S105 - a result, not a secret
    FAIL = "fail"
    UNKNOWN = "unknown"


class Recommendation(StrEnum):
    """What the policy advises people to do."""

    PROMOTE = "promote"
    CONTINUE = "continue"
    HOLD = "hold"
    ROLL_BACK = "roll_back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is true of the rollout outside its evidence.

    Attributes
    ----------
    epoch : int
        The epoch whose units count for the present stage.
    exposed_seconds : float
        Since the first unit could have been exposed to what this evidence compares.
    killed : bool
        The slot's kill switch is on.
    champion_changed : bool
        The slot's champion is no longer the one the plan pinned.
    dropped : tuple of str
        Challengers that have been given up; nothing they show counts any more.
    """

    state: State
    epoch: int
    exposed_seconds: float
    killed: bool
    champion_changed: bool
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """One condition: observed against threshold, and what would turn it over."""

    id: str
    result: Result
    observed: Any
    threshold: Any
    flip_if: str

    def document(self) -> dict[str, Any]:
        """The JSON form."""
        return {name: getattr(self, name) for name in self.__slots__} | {
            "result": self.result.value
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Clause:
        """Read the JSON form back."""
        return cls(**{**document, "result": Result(document["result"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """A challenger that has lost while others go on.

    Attributes
    ----------
    reason : str
        `guardrail_harm`, `oec_worse`, `no_difference`, ...: the word a whole rollout would end by.
    clauses : tuple of str
        Ids of the clauses that say so.
    """

    arm: str
    reason: str
    clauses: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """The JSON form."""
        return {"arm": self.arm, "reason": self.reason, "clauses": list(self.clauses)}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Drop:
        """Read the JSON form back."""
        return cls(
            arm=document["arm"], reason=document["reason"], clauses=tuple(document["clauses"])
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A comparison that may not be read although its outcomes arrive.

    Attributes
    ----------
    metric, arm : str
        Of the comparison; the challenger lives.
    reason : str
        `arm_silent` or `missing_differs`.
    cause : str
        The arm whose outcomes are missing, perhaps the champion.
    """

    metric: str
    arm: str
    reason: str
    cause: str

    def document(self) -> dict[str, str]:
        """The JSON form."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the evidence of one look amounts to.

    Attributes
    ----------
    arm : str or None
        The challenger the verdict speaks of (the one to promote; the one that harms).
    blockers : tuple of str
        Ids of the clauses that forbid any increase of exposure.
    as_of : str
        When the look's snapshot was taken, RFC 3339 UTC.
    epoch : int
        The epoch `exposed` and `matured` were counted in.
    exposed, matured : int
        Units first exposed in that epoch, and of these the complete ones of the OEC.
    harm : tuple of str
        Metrics on which harm is latched.
    lead : mapping of arm to (float or None)
        Present OEC estimate, positive where the challenger is better; its units are the metric's.
    missing_seconds : float
        How long the stalest metric has been overdue; 0 where none is.
    drop : tuple of Drop
        Challengers to give up now; empty where none has lost, or all have.
    held : tuple of Hold
        Comparisons of living challengers that hold the rollout, and whose outcomes are missing.
    """

    verdict: Verdict
    reason: str
    recommendation: Recommendation
    arm: str | None
    clauses: tuple[Clause, ...]
    blockers: tuple[str, ...]
    as_of: str
    look: int
    evidence_sha256: str
    epoch: int
    exposed: int
    matured: int
    harm: tuple[str, ...]
    srm: bool
    lead: Mapping[str, float | None]
    missing_seconds: float
    drop: tuple[Drop, ...] = ()
    held: tuple[Hold, ...] = ()

    def clause(self, clause: str) -> Clause | None:
        """The clause of that id."""
        return next((found for found in self.clauses if found.id == clause), None)

    def document(self) -> dict[str, Any]:
        """The JSON form."""
        return {name: getattr(self, name) for name in self.__slots__} | {
            "verdict": self.verdict.value,
            "recommendation": self.recommendation.value,
            "clauses": [clause.document() for clause in self.clauses],
            "blockers": list(self.blockers),
            "harm": list(self.harm),
            "lead": dict(self.lead),
            "drop": [loser.document() for loser in self.drop],
            "held": [hold.document() for hold in self.held],
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Judgement:
        """Read the JSON form back."""
        return cls(
            **{
                **document,
                "verdict": Verdict(document["verdict"]),
                "recommendation": Recommendation(document["recommendation"]),
                "clauses": tuple(Clause.from_document(part) for part in document["clauses"]),
                "blockers": tuple(document["blockers"]),
                "harm": tuple(document["harm"]),
                "drop": tuple(Drop.from_document(part) for part in document.get("drop", ())),
                "held": tuple(Hold(**part) for part in document.get("held", ())),
            }
        )


def judged_at(judgement: Judgement) -> datetime:
    """The instant the look's snapshot was taken."""
    return datetime.fromisoformat(judgement.as_of)
