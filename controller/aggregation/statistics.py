"""What events fold into: everything a look may see, and nothing about single units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """One metric in one arm of one epoch: complete, entered units only.

    Every float was computed exactly in integers and rounded once, so any order of events, any
    correction and any recomputation give the same bits.

    Attributes
    ----------
    n : int
        Units that entered with a known value.
    missing : int
        Complete units without a value (`zero_means: unknown`); not part of `n`.
    nonzero : int
        Units of `n` whose value is not zero.
    mean, m2 : float
        Mean of the units' values, and sum of squared deviations from it.
    denominator_mean, denominator_m2, cross_m2 : float
        The same for a ratio's denominator, and the sum of products of both deviations.
    covariate_n : int
        Units of `n` that have a covariate (a value from before exposure).
    covariate_mean, covariate_m2, covariate_cross_m2 : float
        The covariate's moments over all `n` units (0 where there is none) and its products with
        the value's deviations.
    second_mean, second_m2, second_cross_m2 : float
        The same of a ratio's other covariate: `covariate` is what the numerator was before
        exposure, `second` what the denominator was.
    denominator_covariate_m2, denominator_second_m2, covariate_second_m2 : float
        Sums of products of the deviations of these two.
    """

    n: int = 0
    missing: int = 0
    nonzero: int = 0
    mean: float = 0.0
    m2: float = 0.0
    denominator_mean: float = 0.0
    denominator_m2: float = 0.0
    cross_m2: float = 0.0
    covariate_n: int = 0
    covariate_mean: float = 0.0
    covariate_m2: float = 0.0
    covariate_cross_m2: float = 0.0
    denominator_covariate_m2: float = 0.0
    second_mean: float = 0.0
    second_m2: float = 0.0
    second_cross_m2: float = 0.0
    denominator_second_m2: float = 0.0
    covariate_second_m2: float = 0.0

    def document(self) -> dict[str, Any]:
        """The JSON form; zeros are left out."""
        return {name: value for name in self.__slots__ if (value := getattr(self, name))}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Moments:
        """Read the JSON form back."""
        return cls(**document)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantileGrid:
    """Clustered counts below each cut for a quantile metric, one arm of one epoch.

    Attributes
    ----------
    cuts : tuple of float
        Rising cuts, at most 256, fixed before the rollout starts.
    units, outcomes : int
        Entered units with outcomes, and the outcomes themselves.
    outcomes_squared : int
        Sum over units of (outcomes of the unit) squared.
    below, below_squared, below_outcomes : tuple of int
        Per cut, sums over units of C, C squared and C n, where C counts the unit's outcomes at or
        below the cut and n all of its outcomes.
    """

    cuts: tuple[float, ...]
    units: int
    outcomes: int
    outcomes_squared: int
    below: tuple[int, ...]
    below_squared: tuple[int, ...]
    below_outcomes: tuple[int, ...]

    def document(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            name: list(value) if isinstance(value := getattr(self, name), tuple) else value
            for name in self.__slots__
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> QuantileGrid:
        """Read the JSON form back."""
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in document.items()
        }
        return cls(**fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One enrolled share of one allocation; evidence is stratified by it."""

    number: int
    allocation: int
    enrolled: float
    weights: Mapping[str, float]

    def document(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "number": self.number,
            "allocation": self.allocation,
            "enrolled": self.enrolled,
            "weights": dict(self.weights),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Epoch:
        """Read the JSON form back."""
        return cls(**document)


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """How old a metric's data are at the look.

    Attributes
    ----------
    age_seconds : float or None
        Seconds since any outcome of that name arrived from any unit (`clock`), or since the last
        declaration (`declared`); None where nothing ever arrived.
    """

    age_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """One SQL snapshot at one watermark over all metrics of one rollout.

    Attributes
    ----------
    watermark : str
        RFC 3339 UTC instant through which the data are complete.
    taken_at : str
        Database time of the snapshot.
    epochs : tuple of Epoch
        In order of number.
    exposed : mapping (epoch number, arm) -> int
        Analysed first exposures, complete or not: what SRM tests and traffic shows.
    moments : mapping (metric, epoch number, arm) -> Moments
        Absent where no unit has entered.
    grids : mapping (metric, epoch number, arm) -> QuantileGrid
        For quantile metrics.
    open_units : mapping (metric, arm) -> int
        Units whose window is still open: shown, not tested.
    freshness : mapping metric -> Freshness
    excluded : mapping of reason -> int
        `arm_mismatch`, `unfit_reason`, `double_exposure`, `repeat_exposure`, `erased`, `retired`:
        counted, not analysed.
    """

    watermark: str
    taken_at: str
    epochs: tuple[Epoch, ...]
    exposed: Mapping[tuple[int, str], int]
    moments: Mapping[tuple[str, int, str], Moments]
    grids: Mapping[tuple[str, int, str], QuantileGrid]
    open_units: Mapping[tuple[str, str], int]
    freshness: Mapping[str, Freshness]
    excluded: Mapping[str, int]

    def document(self) -> dict[str, Any]:
        """The JSON form, in a fixed order: the evidence snapshot's inputs."""
        return {
            "watermark": self.watermark,
            "taken_at": self.taken_at,
            "epochs": [epoch.document() for epoch in self.epochs],
            "exposed": [[*key, count] for key, count in sorted(self.exposed.items())],
            "moments": [
                [*key, value.document()] for key, value in sorted(self.moments.items(), key=_key)
            ],
            "grids": [
                [*key, value.document()] for key, value in sorted(self.grids.items(), key=_key)
            ],
            "open_units": [[*key, count] for key, count in sorted(self.open_units.items())],
            "freshness": {key: value.age_seconds for key, value in sorted(self.freshness.items())},
            "excluded": dict(sorted(self.excluded.items())),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Statistics:
        """Read the JSON form back."""
        return cls(
            watermark=document["watermark"],
            taken_at=document["taken_at"],
            epochs=tuple(Epoch.from_document(epoch) for epoch in document["epochs"]),
            exposed={(epoch, arm): count for epoch, arm, count in document["exposed"]},
            moments={
                (metric, epoch, arm): Moments.from_document(value)
                for metric, epoch, arm, value in document["moments"]
            },
            grids={
                (metric, epoch, arm): QuantileGrid.from_document(value)
                for metric, epoch, arm, value in document["grids"]
            },
            open_units={(metric, arm): count for metric, arm, count in document["open_units"]},
            freshness={
                key: Freshness(age_seconds=age) for key, age in document["freshness"].items()
            },
            excluded=dict(document["excluded"]),
        )


def _key(item: tuple[tuple[str, int, str], Any]) -> tuple[str, int, str]:
    return item[0]
