"""How numbers are written: one precision for an estimate and its interval, signs, units, and n.

The half-width of the interval says how many digits mean anything: two significant ones of it.
Differences of shares are percentage points (pp), shares are percentages, and neither stands
without its unit. A minus is a minus (U+2212), and every unknown is a dash.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

from controller.experiments.metrics import Metric, MetricType

MINUS: Final = "\N{MINUS SIGN}"
UNKNOWN: Final = "–"
NARROW: Final = "\N{NARROW NO-BREAK SPACE}"
MOST_DECIMALS: Final = 6
_STEPS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))

Kind = Literal["share", "plain"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """How the values of one metric are written.

    Attributes
    ----------
    kind : {"share", "plain"}
        `share` values in [0, 1] are shown as percentages and their differences in pp.
    """

    kind: Kind = "plain"

    @property
    def factor(self) -> float:
        """What a stored value is multiplied by before it is shown."""
        return 100.0 if self.kind == "share" else 1.0

    @property
    def difference_unit(self) -> str:
        """Unit of a difference, with its space; empty where the metric has none."""
        return f"{NARROW}pp" if self.kind == "share" else ""

    @property
    def level_unit(self) -> str:
        """Unit of a level."""
        return "%" if self.kind == "share" else ""

    def decimals(self, *widths: float | None) -> int:
        """Decimals that show two significant digits of the narrowest known width.

        Parameters
        ----------
        widths : float or None
            Half-widths, or where there is no interval sizes, in stored units.
        """
        known = [abs(width) * self.factor for width in widths if width]
        known = [width for width in known if width and math.isfinite(width)]
        if not known:
            return 2
        return max(0, min(MOST_DECIMALS, 1 - math.floor(math.log10(min(known)))))

    def difference(self, value: float | None, decimals: int) -> str:
        """A signed difference with its unit."""
        if value is None:
            return UNKNOWN
        return signed(value * self.factor, decimals) + self.difference_unit

    def level(self, value: float | None, decimals: int | None = None) -> str:
        """A level with its unit; three significant digits where no precision is given."""
        if value is None:
            return UNKNOWN
        scaled = value * self.factor
        if decimals is None:
            size = math.floor(math.log10(abs(scaled))) if scaled else 0
            decimals = max(0, min(MOST_DECIMALS, 2 - size))
        return plain(scaled, decimals) + self.level_unit


def half_width(low: float | None, high: float | None, estimate: float | None) -> float | None:
    """Half the interval's width; of a one-sided interval the distance to its one end."""
    if low is not None and high is not None:
        return (high - low) / 2
    end = low if low is not None else high
    if end is None or estimate is None:
        return None
    return abs(estimate - end)


def measure_of(metric: Metric | None) -> Measure:
    """How a metric's values are written: a binary metric is a share."""
    is_share = metric is not None and metric.type is MetricType.BINARY
    return Measure(kind="share" if is_share else "plain")


def interval_text(low: float | None, high: float | None, measure: Measure, decimals: int) -> str:
    """Both ends with one unit; an open end says which way it is open."""
    unit = measure.difference_unit
    if low is None and high is None:
        return UNKNOWN
    if low is None or high is None:
        end = low if high is None else high
        assert end is not None
        which = "at least" if high is None else "at most"
        return f"{which} {signed(end * measure.factor, decimals)}{unit}"
    ends = [signed(end * measure.factor, decimals) for end in (low, high)]
    return f"{ends[0]} to {ends[1]}{unit}"


def plain(value: float, decimals: int) -> str:
    """A number with thousands separators and a real minus; never a negative zero."""
    text = f"{abs(value):,.{decimals}f}"
    negative = value < 0 and any(digit in "123456789" for digit in text)
    return (MINUS if negative else "") + text


def signed(value: float, decimals: int) -> str:
    """The same, always with its sign, except for a zero."""
    text = plain(value, decimals)
    positive = value > 0 and any(digit in "123456789" for digit in text)
    return f"+{text}" if positive else text


def count(value: int | None) -> str:
    """A whole number with thousands separators."""
    return UNKNOWN if value is None else plain(value, 0)


def share(value: float | None) -> str:
    """A share in [0, 1] as a percentage with at most two significant decimals."""
    if value is None:
        return UNKNOWN
    percent = value * 100
    if percent and percent < 0.01:
        return f"<{NARROW}0.01%"
    text = f"{percent:.2f}" if percent < 1 else f"{percent:.1f}"
    return text.rstrip("0").rstrip(".") + "%"


def planned(value: float | None) -> str:
    """A share of the planned evidence: below a hundredth no digit of it says anything."""
    return f"<{NARROW}1%" if value is not None and 0 < value < 0.01 else share(value)


def probability(value: float | None) -> str:
    """A p-value: two significant digits, and never a false exactness below a thousandth."""
    if value is None:
        return UNKNOWN
    if value < 0.001:
        return "<0.001"
    if value > 0.999:
        return ">0.999"
    return f"{value:.{max(2, 1 - math.floor(math.log10(value)))}f}"


def p_value(value: float) -> str:
    """`p = 0.43`, `p < 0.001`."""
    text = probability(value)
    return f"p {text[0]} {text[1:]}" if text[0] in "<>" else f"p = {text}"


def relative(value: float | None) -> str:
    """A relative difference, signed, in per cent."""
    if value is None:
        return UNKNOWN
    return signed(value * 100, 1) + "%"


def score(value: float | None) -> str:
    """A standardised score or a bound, signed, with two decimals."""
    return UNKNOWN if value is None else signed(value, 2)


def duration(seconds: float) -> str:
    """The two largest units: `2 h 10 min`, `45 s`."""
    left = max(0, round(seconds))
    if left >= 86400 * 3:
        left = round(left / 3600) * 3600
    parts = []
    for size, name in _STEPS:
        number, left = divmod(left, size)
        if number:
            parts.append(f"{number} {name}")
    return " ".join(parts[:2]) or "0 s"


def plural(number: int, one: str, many: str | None = None) -> str:
    """`1 look`, `12 looks`."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"
