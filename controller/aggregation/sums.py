"""What one arm of one epoch adds up to for one metric: exact, and reversible unit by unit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from controller.aggregation.exact import (
    ZERO,
    Exact,
    canonical,
    co_deviation,
    mean,
    parse,
    scaled,
)
from controller.aggregation.grid import Grid
from controller.aggregation.statistics import Moments


class Contribution(NamedTuple):
    """What one complete unit says about one metric.

    `value` is None for a unit that stayed silent where silence is unknown; `denominator` counts
    only for a ratio; `covariate` is None where the unit has no history. `outcomes` are a quantile
    metric's single values, in rising order. `second` is the other covariate of a ratio, what its
    denominator was before; it is known where `covariate` is.
    """

    value: float | None
    denominator: float | None = None
    covariate: float | None = None
    outcomes: tuple[float, ...] | None = None
    second: float | None = None


MISSING = Contribution(None)

_SUMS = (
    "value",
    "value_squared",
    "denominator",
    "denominator_squared",
    "cross",
    "covariate",
    "covariate_squared",
    "covariate_cross",
    "denominator_covariate",
    "second",
    "second_squared",
    "second_cross",
    "denominator_second",
    "covariate_second",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Counts and exact sums over units; a group under `plus` and `minus`.

    Attributes
    ----------
    n, missing, nonzero, covariate_n : int
        As in `statistics.Moments`.
    value, value_squared : Exact
        Sum of the units' values and of their squares; the same for denominator and covariate.
    cross, covariate_cross : Exact
        Sums of value times denominator, and of value times covariate.
    second, second_squared, second_cross : Exact
        The same of a ratio's other covariate.
    denominator_covariate, denominator_second, covariate_second : Exact
        Sums of the products that are left.
    """

    n: int = 0
    missing: int = 0
    nonzero: int = 0
    covariate_n: int = 0
    value: Exact = ZERO
    value_squared: Exact = ZERO
    denominator: Exact = ZERO
    denominator_squared: Exact = ZERO
    cross: Exact = ZERO
    covariate: Exact = ZERO
    covariate_squared: Exact = ZERO
    covariate_cross: Exact = ZERO
    denominator_covariate: Exact = ZERO
    second: Exact = ZERO
    second_squared: Exact = ZERO
    second_cross: Exact = ZERO
    denominator_second: Exact = ZERO
    covariate_second: Exact = ZERO
    grid: Grid | None = None

    @classmethod
    def of(cls, contributions: Iterable[Contribution], cuts: Sequence[float] = ()) -> Sums:
        """The sums of these units; with `cuts`, of a quantile metric's outcomes too."""
        parts = list(contributions)
        known = [part for part in parts if part.value is not None]
        values = [part.value for part in known if part.value is not None]
        x, x_scale = scaled(values)
        has_d = any(part.denominator for part in known)
        has_c = any(part.covariate for part in known)
        has_s = any(part.second for part in known)
        d, d_scale = scaled([part.denominator or 0.0 for part in known]) if has_d else ([], 0)
        c, c_scale = scaled([part.covariate or 0.0 for part in known]) if has_c else ([], 0)
        s, s_scale = scaled([part.second or 0.0 for part in known]) if has_s else ([], 0)
        return cls(
            n=len(known),
            missing=len(parts) - len(known),
            nonzero=sum(1 for value in values if value),
            covariate_n=sum(1 for part in known if part.covariate is not None),
            value=canonical(sum(x), x_scale),
            value_squared=_dot(x, x, 2 * x_scale),
            denominator=canonical(sum(d), d_scale) if has_d else ZERO,
            denominator_squared=_dot(d, d, 2 * d_scale) if has_d else ZERO,
            cross=_dot(x, d, x_scale + d_scale) if has_d else ZERO,
            covariate=canonical(sum(c), c_scale) if has_c else ZERO,
            covariate_squared=_dot(c, c, 2 * c_scale) if has_c else ZERO,
            covariate_cross=_dot(x, c, x_scale + c_scale) if has_c else ZERO,
            denominator_covariate=_dot(d, c, d_scale + c_scale) if has_d and has_c else ZERO,
            second=canonical(sum(s), s_scale) if has_s else ZERO,
            second_squared=_dot(s, s, 2 * s_scale) if has_s else ZERO,
            second_cross=_dot(x, s, x_scale + s_scale) if has_s else ZERO,
            denominator_second=_dot(d, s, d_scale + s_scale) if has_d and has_s else ZERO,
            covariate_second=_dot(c, s, c_scale + s_scale) if has_c and has_s else ZERO,
            grid=_grid(cuts, known),
        )

    def plus(self, other: Sums) -> Sums:
        """Both together."""
        return Sums(
            **{name: getattr(self, name) + getattr(other, name) for name in _COUNTS},
            **{name: getattr(self, name).plus(getattr(other, name)) for name in _SUMS},
            grid=_joined(self.grid, other.grid, 1),
        )

    def minus(self, other: Sums) -> Sums:
        """Without the other: exactly what was there before it was added."""
        return Sums(
            **{name: getattr(self, name) - getattr(other, name) for name in _COUNTS},
            **{name: getattr(self, name).minus(getattr(other, name)) for name in _SUMS},
            grid=_joined(self.grid, other.grid, -1),
        )

    def moments(self) -> Moments:
        """What a look reads: means and sums of squared deviations, each rounded once."""
        if not self.n:
            return Moments(missing=self.missing)
        n = self.n
        return Moments(
            n=n,
            missing=self.missing,
            nonzero=self.nonzero,
            mean=mean(self.value, n),
            m2=co_deviation(self.value_squared, self.value, self.value, n),
            denominator_mean=mean(self.denominator, n),
            denominator_m2=co_deviation(
                self.denominator_squared, self.denominator, self.denominator, n
            ),
            cross_m2=co_deviation(self.cross, self.value, self.denominator, n),
            covariate_n=self.covariate_n,
            covariate_mean=mean(self.covariate, n),
            covariate_m2=co_deviation(self.covariate_squared, self.covariate, self.covariate, n),
            covariate_cross_m2=co_deviation(self.covariate_cross, self.value, self.covariate, n),
            denominator_covariate_m2=co_deviation(
                self.denominator_covariate, self.denominator, self.covariate, n
            ),
            second_mean=mean(self.second, n),
            second_m2=co_deviation(self.second_squared, self.second, self.second, n),
            second_cross_m2=co_deviation(self.second_cross, self.value, self.second, n),
            denominator_second_m2=co_deviation(
                self.denominator_second, self.denominator, self.second, n
            ),
            covariate_second_m2=co_deviation(self.covariate_second, self.covariate, self.second, n),
        )

    def texts(self) -> dict[str, str]:
        """The exact sums as canonical text; zeros are left out."""
        return {name: sum_.text() for name in _SUMS if (sum_ := getattr(self, name)).mantissa}

    @classmethod
    def read(
        cls,
        *,
        n: int,
        missing: int,
        nonzero: int,
        covariate_n: int,
        texts: Mapping[str, str],
        grid: Mapping[str, Any] | None = None,
    ) -> Sums:
        """Read stored counts, texts and grid back."""
        return cls(
            grid=None if grid is None else Grid.from_document(grid),
            n=n,
            missing=missing,
            nonzero=nonzero,
            covariate_n=covariate_n,
            **{name: parse(text) for name, text in texts.items()},
        )


EMPTY = Sums()

_COUNTS = ("n", "missing", "nonzero", "covariate_n")


def _grid(cuts: Sequence[float], known: Sequence[Contribution]) -> Grid | None:
    units = [part.outcomes for part in known if part.outcomes]
    return Grid.of(cuts, units) if cuts and units else None


def _joined(ours: Grid | None, theirs: Grid | None, sign: int) -> Grid | None:
    """An emptied grid is no grid: what was taken out whole leaves nothing behind."""
    if theirs is None:
        return ours
    if ours is None:
        ours = Grid.of([0.0] * len(theirs.below), [])
    joined = ours.plus(theirs, sign)
    return None if joined.empty else joined


def _dot(left: list[int], right: list[int], scale: int) -> Exact:
    return canonical(sum(a * b for a, b in zip(left, right, strict=True)), scale)
