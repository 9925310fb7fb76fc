"""The YAML or JSON description of `controller analyze`, read and checked as a whole."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from controller.analysis.offline.describe_metrics import read_metric
from controller.analysis.offline.spec import (
    Aggregates,
    AnalysisSpec,
    ArmColumns,
    Multiplicity,
    Role,
    Rows,
)
from controller.errors import InvalidInput
from controller.experiments.document import Fields, parse_share

DEFAULT_LOOKS = 20
MOST_LOOKS = 1000
_LARGEST_SHARE = 1e12
_ROW_KEYS = {
    "unit": "their rows are no units",
    "time": "`aggregates.look` orders them",
    "looks": "each value of `aggregates.look` is one",
    "rows": "each row is cumulative",
}


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
            read_metric(
                Fields(entry, f"spec.metrics[{index}]"), rows, aggregated=aggregates is not None
            )
            for index, entry in enumerate(fields.items("metrics", most=1000))
        ),
    )
    arm.done()
    fields.done()
    _check_whole(spec, draws_arms=draws_arms)
    if aggregates is not None:
        _refuse_row_keys(fields)
    return spec


def _refuse_row_keys(fields: Fields) -> None:
    """Aggregates have no units to order or to sum: say so instead of leaving the key unread."""
    for key, instead in _ROW_KEYS.items():
        if fields.has(key):
            where = fields.at(key)
            raise InvalidInput(f"{where}: does not apply to aggregates; {instead}.", field=where)


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
    if not 0.0 < total < math.inf:
        raise InvalidInput(f"{where}: shares add up to {total:g}.", field=where)
    return {arm: share / total for arm, share in shares.items()}


def _share(value: Any, where: str) -> float:
    """A part of the whole: any numbers that are not negative, or percentages."""
    if isinstance(value, str):
        return parse_share(value, where)
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    if not plain or not 0 <= value <= _LARGEST_SHARE:
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
