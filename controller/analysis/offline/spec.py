"""What to analyse in a table: the YAML or JSON description of `controller analyze` (CONTRACT 5)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from controller.errors import InvalidInput
from controller.experiments.document import Fields, parse_share
from controller.experiments.metrics import (
    Baseline,
    Direction,
    Metric,
    MetricType,
    Winsorize,
    ZeroMeans,
)

DEFAULT_LOOKS = 20
MOST_LOOKS = 1000
_OEC_ALPHA = 0.05
_GUARDRAIL_ALPHA = 0.025
_CHAMPION_NAMES = ("champion", "control")


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


def parse_spec(document: Any, *, draws_arms: bool = False) -> AnalysisSpec:
    """Read and check a description.

    Parameters
    ----------
    document : mapping
    draws_arms : bool
        Whether the arms will be drawn anew, so that the table needs no column of them.

    Raises
    ------
    InvalidInput
        Naming the place and the rule.
    """
    fields = Fields(document, "spec")
    aggregates = _aggregates(fields.child("aggregates")) if fields.has("aggregates") else None
    rows = fields.choice("rows", Rows, Rows.UNITS)
    arm = fields.child("arm")
    time = fields.optional_text("time")
    spec = AnalysisSpec(
        unit=fields.optional_text("unit"),
        time=time,
        epoch=fields.optional_text("epoch"),
        rows=rows,
        looks=_looks(fields, time),
        arm=arm.optional_text("column"),
        champion=_named(arm.raw("champion")),
        weights=_weights(arm),
        aggregates=aggregates,
        srm_alpha=fields.number("srm_alpha", 0.001, above=0, most=0.5),
        harm_alpha=fields.number("harm_alpha", 0.01, above=0, most=0.5),
        multiplicity=fields.choice("multiplicity", Multiplicity, Multiplicity.NONE),
        metrics=tuple(
            _metric(
                Fields(entry, f"spec.metrics[{index}]"), rows, aggregated=aggregates is not None
            )
            for index, entry in enumerate(fields.items("metrics", most=1000))
        ),
    )
    arm.done()
    fields.done()
    _check_whole(spec, draws_arms=draws_arms)
    return spec


def with_declared(spec: AnalysisSpec, found: Iterable[str]) -> tuple[str, ...]:
    """The arms of the data and those that should have been there: an empty arm is a finding."""
    declared = [arm for shares in spec.weights.values() for arm, share in shares.items() if share]
    return tuple(dict.fromkeys([*found, *declared]))


def pick_champion(spec: AnalysisSpec, arms: tuple[str, ...]) -> str:
    """The champion among the arms found, by the description or by its usual name."""
    if spec.champion is not None:
        if spec.champion not in arms:
            raise InvalidInput(
                f"spec.arm.champion: no row has arm {spec.champion!r:.60}; "
                f"the data have {', '.join(map(repr, arms[:10]))}.",
                field="spec.arm.champion",
            )
        return spec.champion
    usual = [name for name in _CHAMPION_NAMES if name in arms]
    if len(usual) != 1:
        raise InvalidInput("spec.arm.champion: say which arm is in charge.", field="spec.arm")
    return usual[0]


def _check_whole(spec: AnalysisSpec, *, draws_arms: bool) -> None:
    if not spec.metrics:
        raise InvalidInput("spec.metrics: name at least one metric.", field="spec.metrics")
    keys = [metric.key for metric in spec.metrics]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise InvalidInput(f"spec.metrics: {twice!r} is named twice.", field="spec.metrics")
    alphas = {metric.alpha for metric in spec.metrics if metric.role is Role.OEC}
    if spec.multiplicity is not Multiplicity.NONE and len(alphas) > 1:
        raise InvalidInput(
            "spec.multiplicity: the deciding metrics must share one alpha.",
            field="spec.multiplicity",
        )
    wide = spec.aggregates is not None and bool(spec.aggregates.arms)
    if draws_arms and spec.aggregates is not None:
        raise InvalidInput(
            "spec.aggregates: arms can be drawn anew for rows of units or events only.",
            field="spec.aggregates",
        )
    if spec.arm is None and not wide and not (draws_arms and spec.weights):
        also = ", or arm.weights to draw from" if draws_arms else ""
        raise InvalidInput(f"spec.arm.column: is required{also}.", field="spec.arm.column")
    if spec.rows is Rows.EVENTS and spec.unit is None:
        raise InvalidInput("spec.unit: event rows need the unit's column.", field="spec.unit")


def _looks(fields: Fields, time: str | None) -> int | tuple[int, ...]:
    raw = fields.raw("looks")
    if raw is None:
        return DEFAULT_LOOKS if time is not None else 1
    if isinstance(raw, list | tuple):
        good = all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in raw)
        if not (raw and good and len(raw) <= MOST_LOOKS and list(raw) == sorted(set(raw))):
            raise InvalidInput(
                "spec.looks: a list holds rising counts of units.", field="spec.looks"
            )
        return tuple(raw)
    return fields.integer("looks", least=1, most=MOST_LOOKS)


def _named(value: Any) -> str | None:
    """Arms are compared as text: YAML reads 0 and true as other things."""
    return None if value is None else str(value)


def _weights(arm: Fields) -> dict[str | None, dict[str, float]]:
    raw = arm.raw("weights", {})
    where = arm.at("weights")
    if not isinstance(raw, Mapping):
        raise InvalidInput(f"{where}: expected an object of arm: share.", field=where)
    nested = [isinstance(value, Mapping) for value in raw.values()]
    if nested and all(nested):
        return {str(epoch): _shares(shares, f"{where}.{epoch}") for epoch, shares in raw.items()}
    return {None: _shares(raw, where)} if raw else {}


def _shares(raw: Mapping[Any, Any], where: str) -> dict[str, float]:
    shares = {str(arm): _share(value, f"{where}.{arm}") for arm, value in raw.items()}
    total = sum(shares.values())
    if not total > 0.0:
        raise InvalidInput(f"{where}: shares add up to 0.", field=where)
    return {arm: share / total for arm, share in shares.items()}


def _share(value: Any, where: str) -> float:
    """A part of the whole: any numbers that are not negative, or percentages."""
    if isinstance(value, str):
        return parse_share(value, where)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise InvalidInput(f"{where}: expected a share of at least 0.", field=where)
    return float(value)


def _aggregates(fields: Fields) -> Aggregates:
    look = fields.text("look")
    by = tuple(str(name) for name in fields.items("by"))
    metric = fields.optional_text("metric")
    arms = fields.child("arms")
    names = list(fields.raw("arms", {}))
    own = None if names else _arm_columns(fields)
    sides = {name: _arm_columns(child := arms.child(name), close=child) for name in names}
    if sides and len(sides) < 2:
        raise InvalidInput(f"{arms.where}: two arms or more.", field=arms.where)
    fields.done()
    return Aggregates(look=look, by=by, metric=metric, own=own, arms=sides)


def _arm_columns(fields: Fields, close: Fields | None = None) -> ArmColumns:
    columns = ArmColumns(
        n=fields.text("n"), mean=fields.text("mean"), variance=fields.text("variance")
    )
    if close is not None:
        close.done()
    return columns


def _metric(fields: Fields, rows: Rows, *, aggregated: bool) -> MetricSpec:
    key = str(fields.raw("key", "")).strip()
    if not key:
        raise InvalidInput(f"{fields.at('key')}: is required.", field=fields.at("key"))
    kind = fields.choice("type", MetricType)
    role = fields.choice("role", Role, Role.OEC)
    column = _column(fields, kind, rows, key, aggregated=aggregated)
    zero = fields.choice("zero_means", ZeroMeans) if fields.has("zero_means") else None
    unknown = kind is MetricType.QUANTILE
    denominator = fields.text("denominator") if kind is MetricType.RATIO else None
    spec = MetricSpec(
        metric=Metric(
            key=key,
            type=kind,
            direction=fields.choice("direction", Direction, Direction.INCREASE),
            outcome=column or key,
            denominator=denominator,
            q=fields.number("q", above=0, most=0.9999) if unknown else None,
            window_seconds=0.0,
            winsorize=_winsorize(fields),
            baseline=_baseline(fields),
            zero_means=zero or (ZeroMeans.UNKNOWN if unknown else ZeroMeans.ZERO),
        ),
        column=column,
        role=role,
        mode=fields.choice("mode", Mode, Mode.ANYTIME),
        alpha=fields.number(
            "alpha", _OEC_ALPHA if role is Role.OEC else _GUARDRAIL_ALPHA, above=0, most=0.5
        ),
        covariates=_covariates(fields),
        margin=fields.optional_number("margin", least=0),
        margin_relative=fields.optional_number("margin_relative", least=0, most=1),
        equivalence=fields.optional_number("equivalence", above=0),
        bounds=_bounds(fields),
        mde=fields.optional_number("mde", above=0),
        mde_relative=fields.optional_number("mde_relative", above=0),
        horizon=fields.integer("horizon", least=2) if fields.has("horizon") else None,
        power=fields.number("power", 0.9, least=0.5, most=0.999),
        first_look=fields.number("first_look", 0.05, least=0, most=1),
        reserve=fields.number("reserve", 0.0, least=0, most=0.5),
        fails_on_empty=zero is None and rows is Rows.UNITS,
        grid=_grid(fields),
    )
    fields.done()
    _check_metric(spec, fields.where, aggregated=aggregated)
    return spec


def _column(
    fields: Fields, kind: MetricType, rows: Rows, key: str, *, aggregated: bool
) -> str | None:
    if aggregated:
        return str(fields.raw("column", key))
    if kind is MetricType.RATIO:
        return fields.text("numerator")
    if kind is MetricType.COUNT and rows is Rows.EVENTS:
        return fields.optional_text("column")
    return fields.text("column")


def _check_metric(spec: MetricSpec, where: str, *, aggregated: bool) -> None:
    planned, kind = spec.mode is Mode.PLANNED, spec.metric.type
    effects = (spec.mde, spec.mde_relative, spec.margin, spec.margin_relative)
    margins = [m for m in (spec.margin, spec.margin_relative) if m is not None]
    folded = kind in (MetricType.RATIO, MetricType.QUANTILE)
    capped = spec.metric.winsorize is not None
    rules = (
        (
            planned and spec.horizon is None and not any(effects),
            "mode",
            "planned needs a horizon (units of all arms) or an mde.",
        ),
        (
            spec.bounds is not None and (folded or capped or aggregated),
            "bounds",
            "applies to unit or event rows of a binary, mean or count metric.",
        ),
        (spec.reserve >= spec.alpha, "reserve", "must lie below alpha."),
        (bool(spec.reserve) and not planned, "reserve", "belongs to mode: planned."),
        (
            spec.role is Role.GUARDRAIL and spec.equivalence is not None,
            "equivalence",
            "belongs to role: oec; a guardrail has its margin.",
        ),
        (spec.role is Role.OEC and bool(margins), "margin", "belongs to role: guardrail."),
        (len(margins) > 1, "margin", "give it absolute or relative, not both."),
        (None not in (spec.mde, spec.mde_relative), "mde", "absolute or relative, not both."),
        (
            kind is MetricType.QUANTILE and planned and spec.horizon is None,
            "horizon",
            "a planned quantile needs a horizon.",
        ),
        (bool(spec.covariates) and folded, "covariate", f"does not apply to a {kind.value}."),
        (capped and kind is not MetricType.MEAN, "winsorize", "applies to a mean."),
        (
            aggregated and folded,
            "type",
            "aggregates of mean and variance carry binary, mean and count metrics.",
        ),
        (aggregated and (bool(spec.covariates) or capped), "covariate", "needs unit rows."),
    )
    for broken, name, rule in rules:
        if broken:
            raise InvalidInput(f"{where}.{name}: {rule}", field=f"{where}.{name}")


def _covariates(fields: Fields) -> tuple[str, ...]:
    raw = fields.raw("covariate", [])
    names = [raw] if isinstance(raw, str) else raw
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        where = fields.at("covariate")
        raise InvalidInput(f"{where}: expected a column or a list of columns.", field=where)
    return tuple(names)


def _bounds(fields: Fields) -> tuple[float, float] | None:
    raw = fields.raw("bounds")
    if raw is None:
        return None
    where = fields.at("bounds")
    plain = isinstance(raw, list | tuple) and len(raw) == 2
    if not plain or not all(
        isinstance(end, int | float) and not isinstance(end, bool) and math.isfinite(end)
        for end in raw
    ):
        raise InvalidInput(f"{where}: expected [low, high], two numbers.", field=where)
    low, high = float(raw[0]), float(raw[1])
    if not low < high:
        raise InvalidInput(f"{where}: low must lie below high.", field=where)
    return low, high


def _winsorize(fields: Fields) -> Winsorize | None:
    raw = fields.raw("winsorize")
    if raw is None:
        return None
    if isinstance(raw, int | float) and not isinstance(raw, bool) and 0 < raw < 1:
        return Winsorize(quantile=float(raw))
    inner = fields.child("winsorize")
    cap = Winsorize(
        value=inner.optional_number("value"),
        quantile=inner.optional_number("quantile", above=0, most=0.999999),
    )
    inner.done()
    if (cap.value is None) == (cap.quantile is None):
        raise InvalidInput(
            f"{inner.where}: a quantile in (0, 1) or {{value: …}}.", field=inner.where
        )
    return cap


def _baseline(fields: Fields) -> Baseline | None:
    if not fields.has("baseline"):
        return None
    inner = fields.child("baseline")
    baseline = Baseline(mean=inner.number("mean"), sd=inner.number("sd", above=0))
    inner.done()
    return baseline


def _grid(fields: Fields) -> tuple[float, float] | None:
    if not fields.has("cuts"):
        return None
    inner = fields.child("cuts")
    low = inner.number("low", above=0)
    high = inner.number("high", above=low)
    inner.done()
    return low, high
