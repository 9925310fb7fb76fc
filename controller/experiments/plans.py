"""A plan: slot, policy, metrics and models frozen when a rollout is submitted, named by sha256."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from controller.experiments.canonical import sha256_of
from controller.experiments.document import Fields
from controller.experiments.metrics import Metric
from controller.experiments.models import Model
from controller.experiments.policies import Policy
from controller.experiments.slots import Slot

CHAMPION = "champion"


def challenger_names(count: int) -> tuple[str, ...]:
    """Arm names of `count` challengers: `challenger`, or `challenger-1` and so on."""
    if count == 1:
        return ("challenger",)
    return tuple(f"challenger-{number}" for number in range(1, count + 1))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything a rollout will be judged by, fixed before the first unit is exposed.

    Attributes
    ----------
    arms : mapping of str to Model
        Champion first, then the challengers in order.
    weights : mapping of str to float
        Share of each arm among enrolled units; they add up to 1.
    eligible : mapping or None
        Condition tree (`assignment/conditions.py`) that a unit must meet; None admits every unit.
    horizon : int
        Analysed units of all arms at which the OEC's test ends.
    guardrail_horizons : mapping of str to int
        The same for each guardrail's non-inferiority test.
    """

    project: str
    slot: Slot
    policy: Policy
    metrics: Mapping[str, Metric]
    arms: Mapping[str, Model]
    weights: Mapping[str, float]
    horizon: int
    guardrail_horizons: Mapping[str, int]
    eligible: Mapping[str, Any] | None = None

    @cached_property
    def sha256(self) -> str:
        """Names the plan; approvals and evidence bind to it. Every look and save asks for it."""
        return sha256_of(self.document())

    @property
    def challengers(self) -> tuple[str, ...]:
        """Arm names of the challengers."""
        return tuple([arm for arm in self.arms if arm != CHAMPION])

    @property
    def srm_alpha(self) -> float:
        """Error of the sample-ratio tests, of all units and of those without a value."""
        return self.policy.srm_alpha

    def document(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "schema": 1,
            "project": self.project,
            "slot": self.slot.document(),
            "policy": self.policy.document(),
            "metrics": {key: metric.document() for key, metric in sorted(self.metrics.items())},
            "arms": [{"arm": arm, "model": model.document()} for arm, model in self.arms.items()],
            "weights": dict(self.weights),
            "horizon": self.horizon,
            "guardrail_horizons": dict(self.guardrail_horizons),
            # Left out where there is none: plans from before eligibility keep their sha256.
            **({} if self.eligible is None else {"eligible": self.eligible}),
        }

    @classmethod
    def from_document(cls, document: Any) -> Plan:
        """Read a stored plan back; what was checked at submit is not checked again."""
        fields = Fields(document, "plan")
        return cls(
            project=fields.text("project"),
            slot=Slot.from_document(fields.raw("slot")),
            policy=Policy.from_document(fields.raw("policy")),
            metrics={
                key: Metric.from_document(metric)
                for key, metric in fields.raw("metrics", {}).items()
            },
            arms={
                entry["arm"]: Model.from_document(entry["model"]) for entry in fields.items("arms")
            },
            weights=fields.raw("weights"),
            horizon=fields.integer("horizon", least=1),
            guardrail_horizons=fields.raw("guardrail_horizons", {}),
            eligible=fields.raw("eligible"),
        )
