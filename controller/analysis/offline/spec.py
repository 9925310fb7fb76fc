"""What to analyse in a table: the description of `controller analyze` as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from controller.experiments.metrics import Metric
from controller.experiments.spending_choice import USUAL, SpendingChoice


class Role(StrEnum):
    """Whether a metric decides, or only may not get worse."""

    OEC = "oec"
    GUARDRAIL = "guardrail"


class Mode(StrEnum):
    """How often it may be looked at: once, by a plan, or always."""

    FIXED = "fixed"
    PLANNED = "planned"
    ANYTIME = "anytime"


class Multiplicity(StrEnum):
    """How the claims of several deciding metrics share one error (`families.py`)."""

    NONE = "none"
    HOLM = "holm"
    FIXED_SEQUENCE = "fixed_sequence"


class Rows(StrEnum):
    """What one row of the table is."""

    UNITS = "units"
    EVENTS = "events"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSpec:
    """One metric of the table and the claim about it.

    Attributes
    ----------
    metric : Metric
        As the live look knows it; `outcome` and `denominator` name columns.
    column : str or None
        Value, or numerator; None counts rows (`count` of event rows). For aggregates, the value of
        the metric column.
    covariates : tuple of str
        Columns known before exposure.
    alpha : float
        Two-sided for an OEC, one-sided for a guardrail.
    margin, margin_relative : float or None
        Guardrails: a positive size of harm; margin 0 if neither is given.
    equivalence : float or None
        OEC: differences smaller than this are none.
    bounds : (low, high) or None
        Where every unit's value lies, known before the data.
    mde, mde_relative, horizon, power, first_look, reserve
        The plan; `horizon` in units of all arms, `reserve` the part of alpha kept for after it.
    spending : SpendingChoice
        How a planned test releases its alpha.
    fails_on_empty : bool
        Unit rows: an empty cell is an error, because nothing says what it means.
    grid : (low, high) or None
        Ends of a quantile metric's cuts.
    """

    metric: Metric
    column: str | None
    role: Role
    mode: Mode
    alpha: float
    covariates: tuple[str, ...] = ()
    margin: float | None = None
    margin_relative: float | None = None
    equivalence: float | None = None
    bounds: tuple[float, float] | None = None
    mde: float | None = None
    mde_relative: float | None = None
    horizon: int | None = None
    power: float = 0.9
    first_look: float = 0.05
    reserve: float = 0.0
    spending: SpendingChoice = USUAL
    fails_on_empty: bool = True
    grid: tuple[float, float] | None = None

    @property
    def key(self) -> str:
        """Name in every report."""
        return self.metric.key

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column of unit or event rows it reads."""
        own = (self.column, self.metric.denominator)
        return (*(name for name in own if name is not None), *self.covariates)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmColumns:
    """Columns of one arm's cumulative numbers in a wide table."""

    n: str
    mean: str
    variance: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregates:
    """Cumulative statistics by look: long (one row an arm) or wide (arms side by side).

    Attributes
    ----------
    look : str
        Column that orders the looks.
    by : tuple of str
        One analysis for each combination of these columns' values.
    metric : str or None
        Column that names the metric; None if there is one metric only.
    own : ArmColumns or None
        Long tables.
    arms : mapping of arm to ArmColumns
        Wide tables.
    """

    look: str
    by: tuple[str, ...] = ()
    metric: str | None = None
    own: ArmColumns | None = None
    arms: Mapping[str, ArmColumns] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisSpec:
    """The whole description.

    Attributes
    ----------
    weights : mapping of epoch (None: every epoch) to mapping of arm to share
        Empty if the shares are not known; equal shares are then assumed.
    looks : int or tuple of int
        Number of evenly spaced looks, or units of all arms at each of them; without `time` the
        rows are taken in the order of the table.
    """

    metrics: tuple[MetricSpec, ...]
    champion: str | None
    arm: str | None
    unit: str | None = None
    time: str | None = None
    epoch: str | None = None
    rows: Rows = Rows.UNITS
    looks: int | tuple[int, ...] = 1
    weights: Mapping[str | None, Mapping[str, float]] = field(default_factory=dict)
    aggregates: Aggregates | None = None
    srm_alpha: float = 0.001
    harm_alpha: float = 0.01
    multiplicity: Multiplicity = Multiplicity.NONE
