"""What one look remembers for the next: plain numbers, stored with the evidence.

The memory of a planned test is its taken looks and the counts of the last one; of an alarm, its
running maximum. It is a JSON document. Evidence stores what a look has added to it (`history.py`),
so that a look can be recomputed from the evidence it names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from controller.analysis.report import Crossing, Part
from controller.stats.futility import FutilityLook
from controller.stats.group_sequential import TakenLook

_LARGEST = 1.797693134e308
"""The largest double of ten significant digits."""

Ends = tuple[float | None, float | None]


class Row(NamedTuple):
    """One counted look of a planned test, for every level of Holm's ladder at once.

    Attributes
    ----------
    spending_time, variance_ratio : float
        As in `TakenLook`.
    alpha_spent, critical_values : tuple of float
        Level m (index m - 1) tests at alpha / m.
    futility : FutilityLook or None
    """

    spending_time: float
    variance_ratio: float
    alpha_spent: tuple[float, ...]
    critical_values: tuple[float, ...]
    futility: FutilityLook | None = None

    def taken(self, level: int) -> TakenLook:
        """This look as the plan at alpha / level sees it."""
        return TakenLook(
            spending_time=self.spending_time,
            variance_ratio=self.variance_ratio,
            alpha_spent=self.alpha_spent[level - 1],
            critical_value=self.critical_values[level - 1],
        )

    def document(self) -> list[Any]:
        """The JSON form; infinities are null."""
        ends = (self.futility.better_below, self.futility.worse_above) if self.futility else None
        return [
            self.spending_time,
            self.variance_ratio,
            list(self.alpha_spent),
            [finite_or_none(value) for value in self.critical_values],
            [finite_or_none(value) for value in ends] if ends else None,
        ]

    @classmethod
    def from_document(cls, document: Sequence[Any]) -> Row:
        """Read the JSON form back."""
        time, ratio, spent, critical, ends = document
        return cls(
            spending_time=time,
            variance_ratio=ratio,
            alpha_spent=tuple(spent),
            critical_values=tuple([_or(value, math.inf) for value in critical]),
            futility=FutilityLook(
                better_below=_or(ends[0], -math.inf), worse_above=_or(ends[1], -math.inf)
            )
            if ends
            else None,
        )


class PlannedMemory(NamedTuple):
    """A planned test so far.

    Attributes
    ----------
    stored : tuple of documents
        Counted looks as they are stored; read only where a look counts (`rows`, `last`).
    counts : mapping of epoch to (challenger, champion)
        Units at the last counted look.
    size, variance : float
        Effective size W and variance V there.
    z : float or None
        Statistic there, positive in the better direction.
    level : int
        Rung of Holm's ladder it was judged on: alpha / level.
    bound : float or None
        Critical value in force there; None if nothing could be spent.
    interval, relative : (low, high)
        Repeated confidence interval of that look, open ends None; once the test is over, the
        exact one after stopping.
    p : float or None
        Stagewise p-value, once the test is over.
    crossed : Crossing or None
    rows_at : str or None
        The evidence that stored the last of the looks that counted; None before any is stored.
    rows_sha256 : str
        Names `stored` (`rows_name`), so that what is derived from many rows is found by one word.
    """

    stored: tuple[Any, ...] = ()
    counts: Mapping[int, tuple[int, int]] = MappingProxyType({})
    size: float = 0.0
    variance: float = 0.0
    z: float | None = None
    level: int = 1
    bound: float | None = None
    interval: Ends | None = None
    relative: Ends | None = None
    p: float | None = None
    crossed: Crossing | None = None
    rows_at: str | None = None
    rows_sha256: str = ""

    def but(self, **changes: Any) -> PlannedMemory:
        """The same, but for these fields."""
        return self._replace(**changes)

    @property
    def looks(self) -> int:
        """Looks that counted."""
        return len(self.stored)

    @property
    def last(self) -> Row | None:
        """The last look that counted."""
        return Row.from_document(self.stored[-1]) if self.stored else None

    @property
    def time(self) -> float:
        """Spending time of the last look that counted, 0 before the first."""
        return float(self.stored[-1][0]) if self.stored else 0.0

    @property
    def open(self) -> bool:
        """Whether the plan is used up without a crossing: what goes on lives on the reserve."""
        return self.crossed is None and bool(self.stored) and self.stored[-1][0] >= 1.0

    @property
    def part(self) -> Part:
        """Which part of alpha pays for what is found now, or has paid."""
        if self.crossed is not None:
            return self.crossed.part
        return "reserve" if self.open else "planned"

    @property
    def hopeless_below(self) -> float | None:
        """Where that look gives up the claim "better"; None where it does not."""
        ends = self.stored[-1][4] if self.stored else None
        return ends[0] if ends else None

    def alpha_spent(self, level: int) -> float:
        """Alpha spent by it at alpha / level, 0 before the first."""
        return float(self.stored[-1][2][level - 1]) if self.stored else 0.0

    def critical_value(self, level: int) -> float:
        """Its critical value at alpha / level; there is such a look."""
        return _or(self.stored[-1][3][level - 1], math.inf)

    @property
    def rows(self) -> list[Row]:
        """Every look that counted."""
        return [Row.from_document(row) for row in self.stored]

    def document(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "rows": list(self.stored),
            "counts": [[epoch, *pair] for epoch, pair in sorted(self.counts.items())],
            "size": self.size,
            "variance": self.variance,
            "z": self.z,
            "level": self.level,
            "bound": self.bound,
            "interval": list(self.interval) if self.interval else None,
            "relative": list(self.relative) if self.relative else None,
            "p": self.p,
            "crossed": _crossing_document(self.crossed),
            "rows_at": self.rows_at,
            "rows_sha256": self.rows_sha256,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> PlannedMemory:
        """Read the JSON form back."""
        rows, name = document["rows"], document.get("rows_sha256")
        return cls(
            stored=tuple(rows),
            counts={epoch: (n1, n0) for epoch, n1, n0 in document["counts"]},
            size=document["size"],
            variance=document["variance"],
            z=document["z"],
            level=document["level"],
            bound=document["bound"],
            interval=_ends(document["interval"]),
            relative=_ends(document["relative"]),
            p=document["p"],
            crossed=_crossing(document["crossed"]),
            rows_at=document.get("rows_at"),
            rows_sha256=reduce(rows_name, rows, "") if name is None else name,
        )


class AnytimeMemory(NamedTuple):
    """An always-valid test so far: the running maximum of its log e-value, and its looks.

    `towards` is what that maximum speaks for, where a later look may latch it (`claims.py`).
    """

    looks: int = 0
    log_e_max: float = 0.0
    towards: Literal["better", "worse"] | None = None
    crossed: Crossing | None = None

    def but(self, **changes: Any) -> AnytimeMemory:
        """The same, but for these fields."""
        return self._replace(**changes)

    def document(self) -> dict[str, Any]:
        """The JSON form; `towards` only where there is one."""
        return {
            "looks": self.looks,
            "log_e_max": self.log_e_max,
            **({} if self.towards is None else {"towards": self.towards}),
            "crossed": _crossing_document(self.crossed),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> AnytimeMemory:
        """Read the JSON form back."""
        return cls(
            looks=document["looks"],
            log_e_max=document["log_e_max"],
            towards=document.get("towards"),
            crossed=_crossing(document["crossed"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LookMemory:
    """Everything one look hands to the next; keys are `metric/arm/claim`."""

    planned: Mapping[str, PlannedMemory] = field(default_factory=dict)
    anytime: Mapping[str, AnytimeMemory] = field(default_factory=dict)
    srm_log_e_max: float = 0.0
    missing_log_e_max: Mapping[str, float] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The JSON form, schema 1."""
        return {
            "schema": 1,
            "planned": {key: value.document() for key, value in sorted(self.planned.items())},
            "anytime": {key: value.document() for key, value in sorted(self.anytime.items())},
            "srm_log_e_max": self.srm_log_e_max,
            "missing_log_e_max": dict(sorted(self.missing_log_e_max.items())),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any] | None) -> LookMemory:
        """Read the JSON form back; None is the memory before the first look."""
        if document is None:
            return cls()
        return cls(
            planned={
                key: PlannedMemory.from_document(value)
                for key, value in document["planned"].items()
            },
            anytime={
                key: AnytimeMemory.from_document(value)
                for key, value in document["anytime"].items()
            },
            srm_log_e_max=document["srm_log_e_max"],
            missing_log_e_max=dict(document["missing_log_e_max"]),
        )


def rows_name(before: str, row: Sequence[Any]) -> str:
    """Name of a test's rows: sha256 over the name of those before and the new one."""
    return sha256(f"{before}{row}".encode()).hexdigest()


def finite_or_none(value: float | None) -> float | None:
    """JSON has no infinity: an open end is null."""
    return value if value is not None and math.isfinite(value) else None


def settled(value: float) -> float:
    """Ten significant digits, far inside what is exact.

    The last bits of a matrix product or of a special function differ between machines; the
    evidence of a look must not. A saturated e-value stays finite: rounding up the largest double
    would make it infinite, which no JSON can carry.
    """
    if abs(value) > _LARGEST and math.isfinite(value):
        value = math.copysign(_LARGEST, value)
    return float(f"{value:.10g}")


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _ends(document: Sequence[float | None] | None) -> Ends | None:
    return (document[0], document[1]) if document else None


def _crossing_document(crossed: Crossing | None) -> dict[str, Any] | None:
    if crossed is None:
        return None
    return {name: getattr(crossed, name) for name in crossed.__slots__}


def _crossing(document: Mapping[str, Any] | None) -> Crossing | None:
    return Crossing(**document) if document is not None else None
