"""Whether recorded values may be believed: the live look's own rules, asked at every look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from controller.analysis.integrity import family, missing_log_e, why_held
from controller.analysis.offline.recorded import Recorded, RecordedLook
from controller.analysis.report import Held
from controller.experiments.metrics import Metric
from controller.experiments.plans import CHAMPION


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
    split: RecordedSplit, look: RecordedLook, metric: Metric, peaks: dict[str, float]
) -> dict[str, Held]:
    """The challengers whose comparison may not be read at this look, and why.

    Parameters
    ----------
    split : RecordedSplit
    look : RecordedLook
    metric : Metric
    peaks : dict
        Running maximum of each test of missing values; raised here, because a look is taken once.
    """
    found = {}
    for arm in split.challengers:
        arms = family(look.statistics, split, arm)
        key = f"{metric.key}/{','.join(arms[1:])}"
        peak = missing_log_e(look.statistics, split, metric, arms, log_e_max=peaks.get(key, 0.0))
        if peak is not None:
            peaks[key] = peak
        held = why_held(look.statistics, split, metric, arm, missing_log_e_max=peak)
        if held is not None:
            found[arm] = held
    return found
