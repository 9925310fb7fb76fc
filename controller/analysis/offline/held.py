"""Whether recorded values may be believed: the live look's own rules, asked at every look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from controller.aggregation.statistics import Moments
from controller.analysis.anytime import log_evidence
from controller.analysis.integrity import (
    can_miss,
    family,
    missing_log_e,
    most_double_exposed,
    raised_log_e,
    unit_counts,
    why_held,
)
from controller.analysis.offline.recorded import Recorded, RecordedLook
from controller.analysis.pairs import Pair, pair_of
from controller.analysis.readings import read
from controller.analysis.report import Held
from controller.experiments.metrics import Metric, MetricType
from controller.experiments.plans import CHAMPION
from controller.stats.mixture import p_from_log_e
from controller.stats.results import Inconclusive
from controller.stats.score import EQUAL

_TUNING: Final = 1000.0
"""Effective size at which a covariate's level is told apart soonest: some thousands of units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedSplit:
    """How recorded units were split, as `integrity.Split` asks."""

    arms: tuple[str, ...]
    weights: Mapping[str, float]
    srm_alpha: float

    @property
    def challengers(self) -> tuple[str, ...]:
        """Live names of the challengers."""
        return tuple(arm for arm in self.arms if arm != CHAMPION)


def split_of(recorded: Recorded, *, srm_alpha: float) -> RecordedSplit:
    """The split of the newest epoch."""
    weights = recorded.looks[-1].statistics.epochs[-1].weights
    return RecordedSplit(arms=tuple(recorded.arms), weights=weights, srm_alpha=srm_alpha)


def held_of(
    split: RecordedSplit,
    look: RecordedLook,
    metric: Metric,
    peaks: dict[str, float],
    *,
    covariates: bool,
) -> dict[str, Held]:
    """The challengers whose comparison may not be read at this look, and why.

    Parameters
    ----------
    split : RecordedSplit
    look : RecordedLook
    metric : Metric
    peaks : dict
        Running maximum of each test; raised here, because a look is taken once.
    covariates : bool
        Whether the arms' covariates are compared.
    """
    found = {}
    for arm in split.challengers:
        peak = _missing(split, look, metric, arm, peaks) if can_miss(metric) else None
        held = why_held(look.statistics, split, metric, arm, missing_log_e_max=peak)
        if held is None and covariates:
            held = _covariate_held(split, look, metric, arm, peaks)
        if held is not None:
            found[arm] = held
    return found


def too_many_met_both(recorded: Recorded) -> bool:
    """Whether more units met two arms than a working split ever shows."""
    if not recorded.double_exposed or not recorded.looks:
        return False
    units = recorded.double_exposed + sum(recorded.looks[-1].statistics.exposed.values())
    return recorded.double_exposed > most_double_exposed(units)


def _covariate_held(
    split: RecordedSplit, look: RecordedLook, metric: Metric, arm: str, peaks: dict[str, float]
) -> Held | None:
    """A covariate from before exposure knows nothing of the arms; one that does is no covariate.

    Two always-valid tests at the level of the split: of the units that lack it, and of its level.
    Adjusting by one that follows the arm would take the effect out, or put one in.
    """
    pair = pair_of(look.statistics, metric, arm)
    if not pair.looks_back:
        return None
    lacking = unit_counts(look.statistics, metric, (CHAMPION, arm), of=_without_covariate)
    key = f"{metric.key}/{arm}/covariate"
    peaks[f"{key}/lacking"] = raised_log_e(
        lacking, split.srm_alpha, peaks.get(f"{key}/lacking", 0.0)
    )
    level = _level_log_e(pair, split.srm_alpha)
    peaks[f"{key}/level"] = max(level, peaks.get(f"{key}/level", 0.0))
    least = min(p_from_log_e(peaks[f"{key}/{test}"]) for test in ("lacking", "level"))
    return Held(reason="covariate_differs", cause=arm) if least <= split.srm_alpha else None


def _without_covariate(cell: Moments) -> int:
    return cell.n - cell.covariate_n


def _level_log_e(pair: Pair, alpha: float) -> float:
    """Log e-value that the covariate's level differs between the arms; 0 where nobody can say."""
    levels = replace(
        pair,
        metric=replace(pair.metric, type=MetricType.MEAN, denominator=None),
        epochs=tuple((epoch, _level_of(a), _level_of(b)) for epoch, a, b in pair.epochs),
    )
    reading = read(levels, (), null=EQUAL)
    if isinstance(reading, Inconclusive):
        return 0.0
    found = log_evidence(
        levels, (), reading, null=EQUAL, alternative="two-sided", alpha=alpha, tuning=_TUNING
    )
    return found or 0.0


def _level_of(cell: Moments) -> Moments:
    return Moments(
        n=cell.n, nonzero=cell.covariate_n, mean=cell.covariate_mean, m2=cell.covariate_m2
    )


def _missing(
    split: RecordedSplit, look: RecordedLook, metric: Metric, arm: str, peaks: dict[str, float]
) -> float:
    arms = family(look.statistics, split, arm)
    key = f"{metric.key}/{','.join(arms[1:])}"
    before = peaks.get(key, 0.0)
    peaks[key] = missing_log_e(look.statistics, split, metric, arms, log_e_max=before)
    return peaks[key]
