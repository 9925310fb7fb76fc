"""A policy: how something must be shown, and who must agree, before exposure rises.

The slot says what counts; the policy says how it must be shown. A policy is immutable: an edit is
a new version with its own sha256. Keys and defaults are documented in `docs/reference/policy.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from controller.experiments.canonical import sha256_of
from controller.experiments.document import format_duration

DAY = 86400.0


class Mode(StrEnum):
    """How evidence is tested: with a planned horizon, or valid at any time."""

    PLANNED = "planned"
    ANYTIME = "anytime"


class Futility(StrEnum):
    """Whether a planned test may also stop because it has become hopeless."""

    NONE = "none"
    NON_BINDING = "non_binding"


class Spending(StrEnum):
    """The shape in which alpha is spent."""

    HSD = "hsd"
    OBRIEN_FLEMING = "obrien_fleming"
    POCOCK = "pocock"
    KIM_DEMETS = "kim_demets"
    TABULATED = "tabulated"


class HarmAction(StrEnum):
    """What a harm alarm does."""

    ROLLBACK = "rollback"
    PAUSE = "pause"


class OnNoDifference(StrEnum):
    """What happens when the test ends without a difference."""

    KEEP_CHAMPION = "keep_champion"
    KEEP_TESTING = "keep_testing"


class Sticky(StrEnum):
    """Which pins are kept in Redis."""

    NONE = "none"
    EXCEPTIONS = "exceptions"
    ALL = "all"


class Autonomy(StrEnum):
    """Who acts: L0 observe, L1 manual, L2 assisted, L3 auto-ramp, L4 auto-promote."""

    L0 = "L0"
    L1 = "L1"
    L2 = "L2"
    L3 = "L3"
    L4 = "L4"

    @property
    def retreats(self) -> bool:
        """The machine may pause and roll back."""
        return self >= Autonomy.L2

    @property
    def ramps(self) -> bool:
        """The machine may raise the enrolled share where no approval is asked for."""
        return self >= Autonomy.L3

    @property
    def promotes(self) -> bool:
        """The machine may promote where no approval is asked for."""
        return self >= Autonomy.L4


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One step of the ramp.

    Attributes
    ----------
    enrolled : float
        Share of eligible traffic that is split and analysed, in (0, 1].
    dwell_seconds : float
        Least time in this stage; time spent paused does not count.
    min_units, min_matured : int
        Least exposed units, and least complete OEC units, before the next step.
    approval : str or None
        Name of the gate whose approval opens this stage.
    """

    enrolled: float
    dwell_seconds: float = 0.0
    min_units: int = 0
    min_matured: int = 0
    approval: str | None = None

    def document(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "enrolled": self.enrolled,
            "dwell": format_duration(self.dwell_seconds),
            "min_units": self.min_units,
            "min_matured": self.min_matured,
            "approval": self.approval,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class OecRules:
    """How the OEC is tested. `alpha` is two-sided, `horizon` counts analysed units of all arms.

    `gamma` shapes Hwang-Shih-DeCani spending; what a policy leaves out is -3 with futility, -2
    without (docs/decisions/0017-gamma-follows-futility.md). `rho` is the power of Kim-DeMets
    spending, `spending_table` the points (share of the horizon, share of alpha) of a tabulated
    one. `reserve` is the part of alpha kept for
    after the horizon, so that a test may go on (docs/decisions/0027-an-alpha-reserve.md).
    """

    mode: Mode = Mode.PLANNED
    alpha: float = 0.05
    power: float = 0.9
    horizon: int | None = None
    first_look: float = 0.05
    futility: Futility = Futility.NON_BINDING
    spending: Spending = Spending.HSD
    gamma: float = -3.0
    rho: float = 2.0
    spending_table: tuple[tuple[float, float], ...] = ()
    on_no_difference: OnNoDifference = OnNoDifference.KEEP_CHAMPION
    reserve: float = 0.0

    @property
    def planned_alpha(self) -> float:
        """What the plan spends by its horizon: alpha without the reserve."""
        return self.alpha - self.reserve

    def document(self) -> dict[str, Any]:
        """The JSON form; what is not in use is left out, as it was before there was any."""
        written = _plain(self) | {"spending_table": [list(point) for point in self.spending_table]}
        used = {
            "rho": self.spending is Spending.KIM_DEMETS,
            "spending_table": self.spending is Spending.TABULATED,
            "reserve": self.reserve > 0.0,
        }
        return {key: value for key, value in written.items() if used.get(key, True)}


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardrailRules:
    """How one guardrail is tested: a non-inferiority proof and a harm alarm, both one-sided."""

    mode: Mode = Mode.PLANNED
    alpha: float = 0.025
    harm_alpha: float = 0.01
    action: HarmAction = HarmAction.ROLLBACK
    horizon: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Who must agree to one kind of transition.

    Attributes
    ----------
    quorum : int
        Distinct people who must approve.
    groups : mapping of str to int
        Of these, how many from which role or group.
    """

    quorum: int = 2
    groups: Mapping[str, int] = field(default_factory=dict)
    requester_may_approve: bool = False
    author_may_approve: bool = False
    expires_seconds: float = 3 * DAY
    min_review_seconds: float = 0.0

    def document(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "quorum": self.quorum,
            "groups": dict(self.groups),
            "requester_may_approve": self.requester_may_approve,
            "author_may_approve": self.author_may_approve,
            "expires": format_duration(self.expires_seconds),
            "min_review_seconds": self.min_review_seconds,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowRules:
    """Predictions of both models compared before anybody is exposed."""

    min_predictions: int = 1000
    min_duration_seconds: float = DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class AaRules:
    """Both arms serve the champion while the plumbing is checked; its data are discarded."""

    min_units: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """The longest a rollout may stay in a state, in seconds; expiry has a declared outcome."""

    validating: float = 3600.0
    shadow: float = 7 * DAY
    aa: float = 7 * DAY
    ramping: float = 60 * DAY
    deciding: float = 60 * DAY
    promoting: float = 1800.0
    rolling_back: float = 600.0

    def document(self) -> dict[str, Any]:
        """The JSON form."""
        return {name: format_duration(getattr(self, name)) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bake:
    """The watch after promotion: duration and undo window in seconds, holdback a share."""

    duration_seconds: float = 14 * DAY
    holdback: float = 0.02
    undo_window_seconds: float = 30 * DAY

    def document(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "duration": format_duration(self.duration_seconds),
            "holdback": self.holdback,
            "undo_window": format_duration(self.undo_window_seconds),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRules:
    """Freshness: data older than `max_age_seconds` are UNKNOWN; missing too long retreats."""

    max_age_seconds: float = 2 * 3600.0
    missing_deadline_seconds: float = 12 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One immutable version of a policy; `version` 0 stands for "not stored yet"."""

    name: str
    version: int = 0
    description: str = ""
    autonomy: Autonomy = Autonomy.L2
    ramp: tuple[Stage, ...]
    oec: OecRules = OecRules()
    guardrails: GuardrailRules = GuardrailRules()
    guardrail_overrides: Mapping[str, GuardrailRules] = field(default_factory=dict)
    srm_alpha: float = 0.001
    approvals: Mapping[str, Gate] = field(default_factory=dict)
    shadow: ShadowRules | None = None
    aa: AaRules | None = None
    deadlines: Deadlines = Deadlines()
    bake: Bake = Bake()
    data: DataRules = DataRules()
    sticky: Sticky = Sticky.ALL
    allow_selected: bool = False
    look_every_seconds: float = 5.0

    @property
    def sha256(self) -> str:
        """Names the content: everything but the version number."""
        document = self.document()
        document.pop("version")
        return sha256_of(document)

    @property
    def promote_gate(self) -> Gate | None:
        """The gate of the promotion itself; only under L4 may a policy do without."""
        return self.approvals.get("promote", None if self.autonomy.promotes else Gate())

    def guardrail_rules(self, metric: str) -> GuardrailRules:
        """The rules of one guardrail: its own, or the defaults."""
        return self.guardrail_overrides.get(metric, self.guardrails)

    def document(self) -> dict[str, Any]:
        """The JSON form, complete and explicit: what was defaulted is written out."""
        return {
            "name": self.name,
            "version": self.version,
            "description": self.description,
            "autonomy": self.autonomy.value,
            "ramp": [stage.document() for stage in self.ramp],
            "oec": self.oec.document(),
            "guardrails": _plain(self.guardrails)
            | {"metrics": {key: _plain(rules) for key, rules in self.guardrail_overrides.items()}},
            "srm": {"alpha": self.srm_alpha},
            "approvals": {name: gate.document() for name, gate in self.approvals.items()},
            "shadow": {
                "min_predictions": self.shadow.min_predictions,
                "min_duration": format_duration(self.shadow.min_duration_seconds),
            }
            if self.shadow
            else None,
            "aa": {"min_units": self.aa.min_units} if self.aa else None,
            "deadlines": self.deadlines.document(),
            "bake": self.bake.document(),
            "data": {
                "max_age": format_duration(self.data.max_age_seconds),
                "missing_deadline": format_duration(self.data.missing_deadline_seconds),
            },
            "sticky": self.sticky.value,
            "allow_selected": self.allow_selected,
            "look_every": format_duration(self.look_every_seconds),
        }

    @classmethod
    def from_document(
        cls, document: Any, *, name: str | None = None, where: str = "policy"
    ) -> Policy:
        """Read and check the JSON or YAML form; `name` may come from the path.

        Raises
        ------
        InvalidInput
            Naming the field and the rule.
        """
        from controller.experiments.policy_document import read_policy

        return read_policy(document, name=name, where=where)


def _plain(rules: OecRules | GuardrailRules) -> dict[str, Any]:
    return {
        name: value.value if isinstance(value, StrEnum) else value
        for name in rules.__slots__
        for value in (getattr(rules, name),)
    }
