"""The record of one look: what was seen, what was concluded, and the memory for the next look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, NamedTuple

from controller.aggregation.statistics import Statistics
from controller.analysis.history import added
from controller.experiments.canonical import sha256_of
from controller.experiments.plans import Plan


class MetricVerdict(StrEnum):
    """What the data say about one metric."""

    BETTER = "better"
    WORSE = "worse"
    NOT_WORSE = "not_worse"
    HARM = "harm"
    NO_DIFFERENCE = "no_difference"
    INCONCLUSIVE = "inconclusive"
    UNKNOWN = "unknown"


class Claim(StrEnum):
    """What one sequential test tries to show."""

    SUPERIOR = "superior"
    NOT_WORSE = "not_worse"
    NON_INFERIOR = "non_inferior"
    HARM = "harm"


SCHEMA = 3
"""Of a stored look: 2 names the look before where 1 repeated its memory; 3 names a test's rows, and
its recursion on panels may differ in the last digit of an exact interval; what may be rounding
alone is no evidence there (decision 0041); it has the effect of each epoch, and a quantile's levels
as its difference has them."""
Part = Literal["planned", "reserve"]


class Interval(NamedTuple):
    """A confidence interval; an open end is None."""

    low: float | None
    high: float | None
    level: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """A boundary crossed: latched with its look, never taken back.

    `part` says which part of alpha paid for it: the plan's, or the reserve beyond the horizon.
    """

    look: int
    taken_at: str
    n: int
    direction: Literal["better", "worse", "futile", "not_worse", "harm", "ended"]
    estimate: float | None
    part: Part = "planned"


class Test(NamedTuple):
    """One sequential test of one claim.

    Attributes
    ----------
    mode : str
        `planned` or `anytime`.
    look : int
        The test's own look number; 0 before its first look.
    t : float
        Effective size W / W_max of the last counted look; may exceed 1 in over-run.
    z, bound : float or None
        Standardised score, and the bound that rejects in the better direction (planned).
    futility_bound : float or None
        Non-binding; None where the policy has none or before the first look.
    alpha, alpha_spent : float
        Alpha of this test, and its cumulative part spent (planned).
    reserve : float
        Part of alpha kept for after the horizon.
    part : str
        `reserve` once the horizon is past and a reserve goes on; then e_value and bound are its.
    e_value, p : float or None
        Sequential evidence; p is always valid.
    crossed : Crossing or None
    """

    claim: Claim
    mode: str
    look: int
    t: float
    z: float | None
    bound: float | None
    alpha: float
    futility_bound: float | None = None
    alpha_spent: float = 0.0
    reserve: float = 0.0
    part: Part = "planned"
    e_value: float | None = None
    p: float | None = None
    crossed: Crossing | None = None


class ArmSummary(NamedTuple):
    """One arm of one metric over all epochs, for display."""

    n: int
    missing: int
    open: int
    mean: float | None
    sd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochEffect:
    """One epoch's own difference.

    Attributes
    ----------
    epoch : int
    enrolled : float
        Share of traffic that took part in it.
    n_champion, n_challenger : int
        Complete units.
    share : float
        Its part of the design-weighted estimate, w_e / W.
    estimate, standard_error : float
        Challenger minus champion in this epoch; no error where its values do not vary.
    tested : bool
        Whether it is part of the test; else it has too few units yet, and is listed only.
    """

    epoch: int
    enrolled: float
    n_champion: int
    n_challenger: int
    share: float
    estimate: float
    standard_error: float | None
    tested: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Epochs:
    """Whether the effect is the same in every epoch. It decides nothing.

    Attributes
    ----------
    differ : bool
        `p` is at most .01: the estimate is an average over epochs that disagree.
    p, e_value : float or None
        Always valid, for looking at every look; None with fewer than two epochs in the test.
    q, freedom, p_single_look : float, int, float or None
        Cochran's test, a description: its p-value is right at one look fixed beforehand.
    effects : tuple of EpochEffect
        In order of epoch.
    """

    differ: bool
    p: float | None
    e_value: float | None
    q: float | None
    freedom: int | None
    p_single_look: float | None
    effects: tuple[EpochEffect, ...]


class Comparison(NamedTuple):
    """One challenger against the champion on one metric.

    Attributes
    ----------
    estimate : float or None
        Challenger minus champion, absolute, design-weighted over epochs.
    interval : Interval or None
        Valid at this look whatever the number of looks.
    relative, relative_interval : the same as a fraction of the champion's mean.
    margin : float or None
        Absolute tolerated harm now in force (a relative margin times the champion's mean).
    reason : str
        A stable snake_case word: why the verdict is what it is (`boundary_crossed`,
        `keep_collecting`, `too_few_units`, `no_data`, `stale`, `zero_variance`,
        `guardrail_not_shown`, `horizon_not_reached`, …).
    epochs : Epochs or None
        The effect epoch by epoch, where two epochs or more have units of both arms; never for a
        quantile.
    """

    arm: str
    verdict: MetricVerdict
    reason: str
    estimate: float | None
    interval: Interval | None
    relative: float | None
    relative_interval: Interval | None
    margin: float | None
    tests: tuple[Test, ...]
    epochs: Epochs | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Why one comparison may not be read although outcomes arrive.

    Attributes
    ----------
    reason : str
        `arm_silent` or `missing_differs`.
    cause : str
        The arm that is silent, or that misses the most values beyond its share.
    """

    reason: str
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricReport:
    """One metric at this look.

    Attributes
    ----------
    fresh : bool
        Outcomes arrive; where they do not, no comparison may be read.
    held : mapping of arm to Held
        Challengers whose comparison may not be read all the same. Their tests have not moved.
    relative_error : float or None
        Of a quantile: width of one cell of its grid, by which a level may be off.
    """

    key: str
    role: Literal["oec", "guardrail"]
    arms: Mapping[str, ArmSummary]
    comparisons: tuple[Comparison, ...]
    fresh: bool
    age_seconds: float | None
    held: Mapping[str, Held] = field(default_factory=dict)
    relative_error: float | None = None

    def document(self) -> dict[str, Any]:
        """The JSON form; `held`, `relative_error` and `epochs` only where there is something."""
        plain: dict[str, Any] = _plain(self)
        plain["comparisons"] = [_without(each, "epochs") for each in plain["comparisons"]]
        return _without(plain, "held", "relative_error")


@dataclass(frozen=True, slots=True, kw_only=True)
class SrmReport:
    """Sample ratio: exposures of each arm against the weights of their epochs."""

    alarm: bool
    p: float
    e_value: float
    alpha: float
    exposed: Mapping[str, int]
    expected: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class LookInput:
    """Everything one look may use. `previous` is the memory of the look before, or None.

    `history.kept` made that memory when the look before was stored; it names its evidence.
    """

    plan: Plan
    statistics: Statistics
    number: int
    previous: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LookReport:
    """The immutable, recomputable record of one look.

    `memory` is the opaque JSON document the next look gets as `previous`.
    """

    number: int
    plan_sha256: str
    statistics: Statistics
    srm: SrmReport
    metrics: tuple[MetricReport, ...]
    memory: Mapping[str, Any]
    previous: Mapping[str, Any] | None = None
    schema: int = field(default=SCHEMA)

    def metric(self, key: str) -> MetricReport | None:
        """The report of one metric."""
        return next((metric for metric in self.metrics if metric.key == key), None)

    def document(self) -> dict[str, Any]:
        """The JSON form: inputs and conclusions, enough to recompute the look byte for byte.

        Of the memory it has what this look has added; the rest is in the evidence it names.
        """
        return {
            "schema": self.schema,
            "number": self.number,
            "plan_sha256": self.plan_sha256,
            "statistics": self.statistics.document(),
            "previous": self.previous.get("looked") if self.previous else None,
            "srm": _plain(self.srm),
            "metrics": [metric.document() for metric in self.metrics],
            "memory": added(self.memory, self.previous),
        }

    @property
    def sha256(self) -> str:
        """Names the evidence snapshot."""
        return sha256_of(self.document())


def _without(document: dict[str, Any], *names: str) -> dict[str, Any]:
    """The document without those of its fields that are None or empty."""
    return {key: value for key, value in document.items() if value or key not in names}


def _plain(value: Any) -> Any:
    """Dataclasses, named tuples, enums and tuples as plain JSON values."""
    if isinstance(value, StrEnum):
        return value.value
    names = getattr(value, "_fields", None) or getattr(value, "__dataclass_fields__", None)
    if names is not None:
        return {name: _plain(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value
