"""A metric: how one unit's outcomes become a number."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from controller.errors import InvalidInput
from controller.experiments.document import Fields, check_key, describe

USUAL_WINDOW_SECONDS = 7 * 86400.0
"""Of a metric that names none: every day of the week once. It is stored and shown as written.

Never "until the rollout ends": a unit enters the test once, when its window is over, so such a
metric would be silent until nothing could be decided any more.
"""
_MOST_WINDOW_SECONDS = 400 * 86400


class MetricType(StrEnum):
    """How the values of a unit's outcomes are folded."""

    BINARY = "binary"
    MEAN = "mean"
    COUNT = "count"
    RATIO = "ratio"
    QUANTILE = "quantile"


class Direction(StrEnum):
    """Which way is better for the business."""

    INCREASE = "increase"
    DECREASE = "decrease"


class ZeroMeans(StrEnum):
    """What a complete unit without an outcome stands for."""

    ZERO = "zero"
    UNKNOWN = "unknown"


class Complete(StrEnum):
    """Who says that outcomes have all arrived: the clock, or the producer."""

    CLOCK = "clock"
    DECLARED = "declared"


class Closes(StrEnum):
    """What fixes a unit's value: the end of its window, or its first outcome."""

    WINDOW = "window"
    FIRST_OUTCOME = "first_outcome"


class Observed(StrEnum):
    """Whether the outcome is seen always, or only where the model said yes."""

    ALWAYS = "always"
    AFTER_DECISION = "after_decision"


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A stated history of the metric: mean and standard deviation per unit."""

    mean: float
    sd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Winsorize:
    """Cap of one unit's value: a fixed value, or a quantile of the champion's history."""

    value: float | None = None
    quantile: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """The definition of one metric.

    Attributes
    ----------
    outcome : str
        Name of the outcome that is folded; for a ratio, the numerator.
    denominator : str or None
        Name of the denominator's outcome (ratio only).
    window_seconds : float
        A unit's outcomes count from its exposure to exposure + window, `USUAL_WINDOW_SECONDS`
        where a document names none. For a metric that closes
        with the first outcome this is the expected delay.
    lateness_seconds : float
        How long after the window outcomes may still arrive before the unit is complete.
    """

    key: str
    type: MetricType
    direction: Direction
    outcome: str
    denominator: str | None = None
    q: float | None = None
    window_seconds: float
    closes: Closes = Closes.WINDOW
    lateness_seconds: float = 0.0
    complete: Complete = Complete.CLOCK
    lookback_seconds: float = 0.0
    winsorize: Winsorize | None = None
    baseline: Baseline | None = None
    zero_means: ZeroMeans
    observed: Observed = Observed.ALWAYS

    @property
    def outcomes(self) -> tuple[str, ...]:
        """Names of every outcome this metric reads."""
        return (self.outcome,) if self.denominator is None else (self.outcome, self.denominator)

    @property
    def better(self) -> float:
        """+1 where an increase is better, -1 where a decrease is."""
        return 1.0 if self.direction is Direction.INCREASE else -1.0

    def document(self) -> dict[str, Any]:
        """The JSON form, complete and explicit: what was defaulted is written out."""
        parts: dict[str, Any] = {
            "key": self.key,
            "type": self.type.value,
            "direction": self.direction.value,
            "lateness_seconds": self.lateness_seconds,
            "complete": self.complete.value,
            "zero_means": self.zero_means.value,
            "observed": self.observed.value,
        }
        if self.type is MetricType.RATIO:
            parts |= {"numerator": self.outcome, "denominator": self.denominator}
        else:
            parts["outcome"] = self.outcome
        if self.closes is Closes.FIRST_OUTCOME:
            parts |= {"closes": self.closes.value, "expected_delay_seconds": self.window_seconds}
        else:
            parts["window_seconds"] = self.window_seconds
        if self.q is not None:
            parts["q"] = self.q
        if self.lookback_seconds:
            parts["lookback_seconds"] = self.lookback_seconds
        if self.winsorize is not None:
            cap = self.winsorize
            parts["winsorize"] = (
                {"value": cap.value} if cap.value is not None else {"quantile": cap.quantile}
            )
        if self.baseline is not None:
            parts["baseline"] = {"mean": self.baseline.mean, "sd": self.baseline.sd}
        return parts

    @classmethod
    def from_document(
        cls, document: Any, *, key: str | None = None, where: str = "metric"
    ) -> Metric:
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
        kind = fields.choice("type", MetricType)
        closes = fields.choice("closes", Closes, Closes.WINDOW)
        ratio = kind is MetricType.RATIO
        metric = cls(
            key=check_key(named, f"{where}.key"),
            type=kind,
            direction=fields.choice("direction", Direction),
            outcome=fields.key("numerator") if ratio else fields.key("outcome"),
            denominator=fields.key("denominator") if ratio else None,
            q=fields.number("q", above=0, most=0.9999) if kind is MetricType.QUANTILE else None,
            window_seconds=_window(fields, closes),
            closes=closes,
            lateness_seconds=fields.number("lateness_seconds", 0.0, least=0, most=366 * 86400),
            complete=fields.choice("complete", Complete, Complete.CLOCK),
            lookback_seconds=fields.number("lookback_seconds", 0.0, least=0, most=366 * 86400),
            winsorize=_winsorize(fields),
            baseline=_baseline(fields),
            zero_means=fields.choice("zero_means", ZeroMeans, _default_zero(kind, closes)),
            observed=fields.choice("observed", Observed, Observed.ALWAYS),
        )
        fields.done()
        return metric


def _default_zero(kind: MetricType, closes: Closes) -> ZeroMeans:
    unknown = kind is MetricType.QUANTILE or closes is Closes.FIRST_OUTCOME
    return ZeroMeans.UNKNOWN if unknown else ZeroMeans.ZERO


def _window(fields: Fields, closes: Closes) -> float:
    first = closes is Closes.FIRST_OUTCOME
    name, other = "window_seconds", "expected_delay_seconds"
    if first:
        name, other = other, name
    if fields.has(other):
        raise InvalidInput(
            f"{fields.at(other)}: does not go with closes: {closes.value}; write {name}.",
            field=fields.at(other),
        )
    if first and not fields.has(name):
        raise InvalidInput(
            f"{fields.at(name)}: is required beside closes: first_outcome; write the seconds after "
            "which nearly every unit has had its outcome, such as 604800 for a week.",
            field=fields.at(name),
        )
    usual = None if first else USUAL_WINDOW_SECONDS
    return fields.number(name, usual, above=0, most=_MOST_WINDOW_SECONDS)


def _winsorize(fields: Fields) -> Winsorize | None:
    raw = fields.raw("winsorize")
    between = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
    describe(fields.at("winsorize"), between)
    if raw is None:
        return None
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        if not 0 < raw < 1:
            raise InvalidInput(
                "metric.winsorize: a bare number is a quantile in (0, 1); a cap is {value: …}.",
                field=fields.at("winsorize"),
            )
        return Winsorize(quantile=float(raw))
    inner = fields.child("winsorize")
    value = inner.optional_number("value")
    quantile = inner.optional_number("quantile", above=0, most=0.999999)
    inner.done()
    if (value is None) == (quantile is None):
        raise InvalidInput(
            f"{inner.where}: give either a value or a quantile.", field=fields.at("winsorize")
        )
    return Winsorize(value=value, quantile=quantile)


def _baseline(fields: Fields) -> Baseline | None:
    if not fields.has("baseline"):
        return None
    inner = fields.child("baseline")
    mean = inner.number("mean", least=-1e150, most=1e150)
    baseline = Baseline(mean=mean, sd=inner.number("sd", above=0, most=1e150))
    inner.done()
    return baseline
