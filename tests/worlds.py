"""Small worlds for looks: a plan and statistics made from plain arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from controller.aggregation.statistics import Epoch, Freshness, Moments, Statistics
from controller.analysis.history import kept
from controller.analysis.report import LookReport
from controller.experiments.canonical import canonical_json, sha256_of
from controller.experiments.metrics import Direction, Metric, MetricType, ZeroMeans
from controller.experiments.models import Model
from controller.experiments.plans import CHAMPION, Plan, challenger_names
from controller.experiments.policies import (
    Futility,
    GuardrailRules,
    OecRules,
    Policy,
    Stage,
)
from controller.experiments.slots import Goal, Guardrail, Oec, Slot

EVEN = {"champion": 0.5, "challenger": 0.5}


def metric(key: str = "conversion", **changes: Any) -> Metric:
    plain = Metric(
        key=key,
        type=MetricType.BINARY,
        direction=Direction.INCREASE,
        outcome=key,
        window_seconds=60.0,
        zero_means=ZeroMeans.ZERO,
    )
    return replace(plain, **changes)


def plan(
    *,
    horizon: int = 10_000,
    oec: Metric | None = None,
    goal: Goal = Goal.SUPERIOR,
    margin: float | None = None,
    guardrails: Mapping[str, tuple[Metric, Guardrail]] | None = None,
    rules: OecRules | None = None,
    guardrail_rules: GuardrailRules | None = None,
    weights: Mapping[str, float] | None = None,
    **policy: Any,
) -> Plan:
    chosen = oec or metric()
    watched = guardrails or {}
    shares = dict(weights or EVEN)
    champion = Model(name="rule", version="1")
    arms = {CHAMPION: champion} | {
        arm: Model(name="net", version=str(number))
        for number, arm in enumerate(challenger_names(len(shares) - 1))
    }
    return Plan(
        project="default",
        slot=Slot(
            key="slot",
            unit="customer",
            champion=champion,
            oec=Oec(metric=chosen.key, goal=goal, margin=margin),
            guardrails=tuple(guardrail for _, guardrail in watched.values()),
        ),
        policy=Policy(
            name="plain",
            ramp=(Stage(enrolled=1.0),),
            oec=rules or OecRules(futility=Futility.NONE, gamma=-2.0),
            guardrails=guardrail_rules or GuardrailRules(),
            **policy,
        ),
        metrics={chosen.key: chosen} | {key: each for key, (each, _) in watched.items()},
        arms=arms,
        weights=shares,
        horizon=horizon,
        guardrail_horizons=dict.fromkeys(watched, horizon),
    )


def moments(values: ArrayLike, *, covariate: ArrayLike | None = None, missing: int = 0) -> Moments:
    y: NDArray[np.float64] = np.asarray(values, dtype=np.float64)
    if not y.size:
        return Moments(missing=missing)
    mean = float(y.mean())
    plain = Moments(
        n=int(y.size),
        missing=missing,
        nonzero=int(np.count_nonzero(y)),
        mean=mean,
        m2=float(((y - mean) ** 2).sum()),
    )
    if covariate is None:
        return plain
    x: NDArray[np.float64] = np.asarray(covariate, dtype=np.float64)
    centre = float(x.mean())
    return replace(
        plain,
        covariate_n=int(x.size),
        covariate_mean=centre,
        covariate_m2=float(((x - centre) ** 2).sum()),
        covariate_cross_m2=float(((x - centre) * (y - mean)).sum()),
    )


def ratio_moments(
    numerator: ArrayLike,
    denominator: ArrayLike,
    before: tuple[ArrayLike, ArrayLike] | None = None,
) -> Moments:
    """Of a ratio; `before` are numerator and denominator as they were before exposure."""
    y: NDArray[np.float64] = np.asarray(numerator, dtype=np.float64)
    x: NDArray[np.float64] = np.asarray(denominator, dtype=np.float64)
    plain = replace(
        moments(y),
        denominator_mean=float(x.mean()),
        denominator_m2=float(((x - x.mean()) ** 2).sum()),
        cross_m2=float(((x - x.mean()) * (y - y.mean())).sum()),
    )
    if before is None:
        return plain
    table = np.stack([y, x, *(np.asarray(past, dtype=np.float64) for past in before)])
    gaps = table - table.mean(axis=1, keepdims=True)
    scatter: list[list[float]] = (gaps @ gaps.T).tolist()
    return replace(
        plain,
        covariate_n=int(y.size),
        covariate_mean=float(table[2].mean()),
        covariate_m2=scatter[2][2],
        covariate_cross_m2=scatter[0][2],
        denominator_covariate_m2=scatter[1][2],
        second_mean=float(table[3].mean()),
        second_m2=scatter[3][3],
        second_cross_m2=scatter[0][3],
        denominator_second_m2=scatter[1][3],
        covariate_second_m2=scatter[2][3],
    )


def binary(n: int, successes: int) -> Moments:
    """A binary arm from its counts, exact."""
    if n == 0:
        return Moments()
    p = successes / n
    return Moments(n=n, nonzero=successes, mean=p, m2=successes * (1.0 - p))


def statistics(
    cells: Mapping[tuple[str, int, str], Moments],
    *,
    weights: Sequence[Mapping[str, float]] = (EVEN,),
    exposed: Mapping[tuple[int, str], int] | None = None,
    ages: Mapping[str, float | None] | None = None,
    taken_at: str = "2026-01-01T00:00:00Z",
    **parts: Any,
) -> Statistics:
    """Statistics whose exposures equal the complete units unless told otherwise."""
    keys = {key for key, _, _ in cells}
    if exposed is None:
        exposed = {}
        for (_, epoch, arm), cell in cells.items():
            seen = max(exposed.get((epoch, arm), 0), cell.n + cell.missing)
            exposed = {**exposed, (epoch, arm): seen}
    known = dict.fromkeys(keys, 1.0) if ages is None else ages
    return Statistics(
        watermark=taken_at,
        taken_at=taken_at,
        epochs=tuple(
            Epoch(number=number, allocation=1, enrolled=1.0, weights=dict(shares))
            for number, shares in enumerate(weights)
        ),
        exposed=exposed,
        moments=dict(cells),
        grids=parts.get("grids", {}),
        open_units=parts.get("open_units", {}),
        freshness={key: Freshness(age_seconds=age) for key, age in known.items()},
        excluded={},
    )


def shelve(shelf: dict[str, Any], report: LookReport) -> dict[str, Any]:
    """Store a look under its sha256; the memory that the next one gets, as JSON carries it."""
    stored = json.loads(canonical_json(report.document()))
    name = sha256_of(stored)
    shelf[name] = stored
    after = kept(report.memory, report.previous, sha256=name)
    return cast("dict[str, Any]", json.loads(canonical_json(after)))
