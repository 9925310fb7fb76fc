"""Whether the effect is the same in every epoch, and how far each epoch lies from the next.

The tested estimate is the design-weighted average of the epochs' differences, whatever they are.
Where they disagree that average belongs to no single epoch: then each one's own difference is told,
with its part of the average. Nothing here decides: inverse variances serve here alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from controller.aggregation.statistics import Epoch
from controller.analysis.memory import settled
from controller.analysis.pairs import Pair
from controller.analysis.planned import PlannedRules
from controller.analysis.readings import read
from controller.analysis.report import EpochEffect, Epochs
from controller.analysis.sights import Sight
from controller.experiments.metrics import MetricType
from controller.stats.heterogeneity import heterogeneity, heterogeneity_log_e
from controller.stats.mixture import e_from_log, p_from_log_e
from controller.stats.results import Inconclusive
from controller.stats.score import BURN_IN_NONZERO, EQUAL, EpochScore, Score

DIFFER_ALPHA = 0.01
"""Level of the statement "the effect differs", however often one looks, for each comparison."""


def epochs_of(sight: Sight, rules: PlannedRules, epochs: Sequence[Epoch]) -> Epochs | None:
    """The effect epoch by epoch; None with fewer than two, and for a quantile.

    Parameters
    ----------
    sight : Sight
    rules : PlannedRules
        Of the claim: its planned size tunes the always-valid test.
    epochs : sequence of Epoch
        Of the statistics; names the share that was enrolled.

    Notes
    -----
    An epoch enters the test once 25 units of each arm have a value other than zero there; before
    that its own variance says little, and it is listed only. The p-value that holds at every look
    is that of `heterogeneity_log_e`; Cochran's is right at a look that was fixed beforehand.
    """
    parts = _parts(sight)
    if parts is None or len(parts.epochs) < 2:
        return None
    enough = _burnt_in(sight.pair)
    tested = [one for one in parts.epochs if one.epoch in enough and _variance(one) > 0.0]
    enrolled = {epoch.number: epoch.enrolled for epoch in epochs}
    effects = [one.gap for one in tested]
    variances = [_variance(one) for one in tested]
    found = heterogeneity(effects, variances)
    known = None if isinstance(found, Inconclusive) else found
    log_e = heterogeneity_log_e(
        effects,
        variances,
        unit_variance=parts.variance / parts.size,
        planned_size=rules.size_planned,
    )
    p = None if known is None else settled(p_from_log_e(log_e))
    return Epochs(
        differ=p is not None and p <= DIFFER_ALPHA,
        p=p,
        e_value=None if known is None else settled(e_from_log(log_e)),
        q=None if known is None else settled(known.q),
        freedom=None if known is None else known.freedom,
        p_single_look=None if known is None else settled(known.p_value),
        effects=tuple(
            EpochEffect(
                epoch=one.epoch,
                enrolled=enrolled[one.epoch],
                n_champion=one.n_control,
                n_challenger=one.n_treatment,
                share=settled(one.size / parts.size),
                estimate=settled(one.gap),
                standard_error=settled(_variance(one) ** 0.5) if _variance(one) > 0.0 else None,
                tested=one in tested,
            )
            for one in parts.epochs
        ),
    )


def _parts(sight: Sight) -> Score | None:
    """The score against "no difference", of which the shown estimate is the distance."""
    pair = sight.pair
    if pair.metric.type is MetricType.QUANTILE or len(pair.epochs) < 2:
        return None
    reading = read(pair, (), null=EQUAL)
    return None if isinstance(reading, Inconclusive) else reading.parts


def _variance(epoch: EpochScore) -> float:
    """Of the epoch's difference: the larger of the common and the arms' own, as the score has."""
    own = epoch.variance_treatment / epoch.n_treatment + epoch.variance_control / epoch.n_control
    return max(epoch.variance / epoch.size, own)


def _burnt_in(pair: Pair) -> set[int]:
    """Epochs with enough units of each arm that have a value other than zero."""
    return {
        number
        for number, champion, challenger in pair.epochs
        if min(champion.nonzero, challenger.nonzero) >= BURN_IN_NONZERO
    }
