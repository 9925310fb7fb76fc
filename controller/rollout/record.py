"""One rollout as it stands: a frozen copy of its row, with the plan read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from controller.experiments.models import Model
from controller.experiments.plans import Plan
from controller.rollout.states import Pause, State, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What was asked for when the rollout was created; frozen into a plan at submit.

    Attributes
    ----------
    weights : mapping of arm to float, or None
        Share of each arm among enrolled units; None splits them evenly.
    eligible : mapping or None
        Condition tree; None leaves it to the slot.
    """

    challengers: tuple[Model, ...]
    policy: str
    owner: str
    requested_by: str
    hypothesis: str = ""
    weights: Mapping[str, float] | None = None
    eligible: Mapping[str, Any] | None = None

    def document(self) -> dict[str, Any]:
        """The JSON form; what was not asked for is left out."""
        return {
            "challengers": [model.document() for model in self.challengers],
            "policy": self.policy,
            "owner": self.owner,
            "requested_by": self.requested_by,
            "hypothesis": self.hypothesis,
            **({} if self.weights is None else {"weights": dict(self.weights)}),
            **({} if self.eligible is None else {"eligible": self.eligible}),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Draft:
        """Read the JSON form back."""
        return cls(
            challengers=tuple(Model.from_document(model) for model in document["challengers"]),
            policy=document["policy"],
            owner=document["owner"],
            requested_by=document["requested_by"],
            hypothesis=document.get("hypothesis", ""),
            weights=document.get("weights"),
            eligible=document.get("eligible"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One attempt to replace a slot's champion.

    Attributes
    ----------
    generation : int
        Rises with every change; a writer names the one it read.
    stage : int
        Index into the policy's ramp, from 0.
    enrolled_ppm : int
        Enrolled share in parts per million, as published.
    paused : tuple of Pause
        Why it is held; empty where it is not.
    paused_seconds : float
        Time spent paused in this stage: not counted as dwell.
    judgement : mapping or None
        The newest verdict's document (`rollout/judge.py`), every clause included.
    look_memory : mapping or None
        What the next look gets from the last (`LookReport.memory`).
    replaced : Model or None
        The champion that served when this rollout's challenger took its place: what `undo` brings
        back. In a `moving` slot it is not the one in the plan.
    """

    project: str
    id: str
    slot: str
    attempt: int = 1
    retry_of: str | None = None
    generation: int = 1
    state: State = State.DRAFT
    stage: int = 0
    draft: Draft
    plan: Plan | None = None
    salt: str
    enrolled_ppm: int = 0
    allocation: int = 0
    epoch: int = 0
    paused: tuple[Pause, ...] = ()
    paused_since: datetime | None = None
    paused_seconds: float = 0.0
    entered_at: datetime
    stage_entered_at: datetime
    deadline_at: datetime | None = None
    created_at: datetime
    ended_at: datetime | None = None
    verdict: Verdict = Verdict.UNKNOWN
    reason: str = ""
    judgement: Mapping[str, Any] | None = None
    look_number: int = 0
    look_sha256: str | None = None
    look_memory: Mapping[str, Any] | None = None
    next_look_at: datetime | None = None
    replaced: Model | None = None

    @property
    def enrolled(self) -> float:
        """Enrolled share in [0, 1]."""
        return self.enrolled_ppm / 1_000_000

    @property
    def frozen_plan(self) -> Plan:
        """The plan of a submitted rollout.

        Raises
        ------
        ValueError
            If the rollout is still a draft.
        """
        if self.plan is None:
            raise ValueError(f"rollout {self.id} has no plan yet")
        return self.plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """A numbered period with constant arms, weights and eligibility.

    Attributes
    ----------
    runs : tuple of (end, arm)
        Arms laid over 10,000 buckets, ends rising to 10,000.
    retired : tuple of (start, end)
        Buckets that serve champion and are not analysed for the rest of the attempt.
    analysed : bool
        False for the A/A check: its data are discarded.
    eligible : mapping or None
        Condition tree in force; None admits every unit.
    dropped : mapping of arm to str
        Challengers that were given up before or when this allocation opened, and why.
    """

    number: int
    weights: Mapping[str, float]
    runs: tuple[tuple[int, str], ...]
    retired: tuple[tuple[int, int], ...] = ()
    analysed: bool = True
    opened_at: datetime
    eligible: Mapping[str, Any] | None = None
    dropped: Mapping[str, str] = field(default_factory=dict)
