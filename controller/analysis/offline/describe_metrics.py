"""One metric of a description: its columns, its claim, its plan, and what excludes what."""

from __future__ import annotations

from controller.analysis.offline.columns import LARGEST
from controller.analysis.offline.spec import MetricSpec, Mode, Role, Rows
from controller.errors import InvalidInput
from controller.experiments.document import Fields
from controller.experiments.metric_rules import why_no_margin
from controller.experiments.metrics import (
    Baseline,
    Direction,
    Metric,
    MetricType,
    Winsorize,
    ZeroMeans,
)
from controller.experiments.policies import Futility
from controller.experiments.policy_document import USUAL_GAMMA
from controller.experiments.spending_choice import USUAL, read_spending

_OEC_ALPHA = 0.05
_GUARDRAIL_ALPHA = 0.025
_LEAST_ALPHA = 1e-12
_LEAST_SHARE = 1e-9


def read_metric(fields: Fields, rows: Rows, *, aggregated: bool) -> MetricSpec:
    """Read one entry of `metrics`.

    Parameters
    ----------
    fields : Fields
    rows : Rows
    aggregated : bool
        The table holds cumulative statistics instead.

    Raises
    ------
    InvalidInput
        Naming the place and the rule.
    """
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
            "alpha",
            _OEC_ALPHA if role is Role.OEC else _GUARDRAIL_ALPHA,
            least=_LEAST_ALPHA,
            most=0.5,
        ),
        covariates=_covariates(fields),
        margin=fields.optional_number("margin", least=0, most=LARGEST),
        margin_relative=fields.optional_number("margin_relative", least=0, most=1),
        equivalence=fields.optional_number("equivalence", above=0, most=LARGEST),
        bounds=_bounds(fields),
        mde=fields.optional_number("mde", least=1.0 / LARGEST, most=LARGEST),
        mde_relative=fields.optional_number(
            "mde_relative", least=_LEAST_SHARE, most=1 / _LEAST_SHARE
        ),
        horizon=fields.integer("horizon", least=2) if fields.has("horizon") else None,
        power=fields.number("power", 0.9, least=0.5, most=0.999),
        first_look=fields.number("first_look", 0.05, least=0, most=1),
        reserve=fields.number("reserve", 0.0, least=0, most=0.5),
        spending=read_spending(fields, usual_gamma=USUAL_GAMMA[Futility.NONE]),
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
    no_margin = why_no_margin(spec.margin_relative, spec.metric)
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
        (spec.spending != USUAL and not planned, "spending", "belongs to mode: planned."),
        (
            spec.role is Role.GUARDRAIL and spec.equivalence is not None,
            "equivalence",
            "belongs to role: oec; a guardrail has its margin.",
        ),
        (spec.role is Role.OEC and bool(margins), "margin", "belongs to role: guardrail."),
        (len(margins) > 1, "margin", "give it absolute or relative, not both."),
        (bool(no_margin), "margin_relative", no_margin),
        (None not in (spec.mde, spec.mde_relative), "mde", "absolute or relative, not both."),
        (
            kind is MetricType.QUANTILE and planned and spec.horizon is None,
            "horizon",
            "a planned quantile needs a horizon.",
        ),
        (
            bool(spec.covariates) and kind is MetricType.QUANTILE,
            "covariate",
            "does not apply to a quantile, which is read from counts below cuts.",
        ),
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
        isinstance(end, int | float) and not isinstance(end, bool) and abs(end) <= LARGEST
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
        value=inner.optional_number("value", above=0, most=LARGEST),
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
    baseline = Baseline(
        mean=inner.number("mean", least=-LARGEST, most=LARGEST),
        sd=inner.number("sd", least=1.0 / LARGEST, most=LARGEST),
    )
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
