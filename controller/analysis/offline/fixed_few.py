"""One look at two shares with few hits or few misses: the score test, where pooled z is too rough.

statsmodels has it (Miettinen and Nurminen 1985); loading it costs seconds, so only a table that
needs it pays for it.
"""

from __future__ import annotations

from controller.analysis.memory import Ends
from controller.analysis.planned import PlannedRules, claimed, one_end_open
from controller.analysis.sights import Sight
from controller.experiments.metrics import MetricType
from controller.stats import fixed
from controller.stats.results import Inconclusive

FEW = 25
Arm = tuple[int, int]


def few_hits(sight: Sight, rules: PlannedRules) -> tuple[Arm, Arm] | None:
    """(hits, units) of challenger and champion where an arm has few of either; else None.

    Only shares of one epoch against an absolute null: what the score test is about.
    """
    live = [e for e in sight.pair.epochs if e[1].n > 0 and e[2].n > 0]
    binary = sight.pair.metric.type is MetricType.BINARY
    if not binary or len(live) != 1 or rules.null.scale != 1.0:
        return None
    _, champion, challenger = live[0]
    fewest = min(min(arm.nonzero, arm.n - arm.nonzero) for arm in (champion, challenger))
    if fewest >= FEW:
        return None
    return (challenger.nonzero, challenger.n), (champion.nonzero, champion.n)


def score_test(
    rules: PlannedRules, challenger: Arm, champion: Arm
) -> tuple[fixed.FixedTest, Ends, Ends | None] | Inconclusive:
    """Test, interval of the difference and of the relative lift, by the score.

    Newcombe's interval stands in where the score's does not converge (perfect separation).
    """
    test = fixed.proportions_test(
        challenger, champion, null=rules.null.shift, alternative=claimed(rules)
    )
    # A claim of one side leaves one end open: the other is that of twice its alpha.
    level = rules.alpha * 2.0 / rules.sides
    ends = fixed.difference_interval(challenger, champion, alpha=level)
    if isinstance(ends, Inconclusive):  # the search for its ends met the edge of what shares can be
        ends = fixed.difference_interval(challenger, champion, alpha=level, method="newcomb")
    ratio = fixed.ratio_interval(challenger, champion, alpha=level)
    if isinstance(test, Inconclusive):
        return test
    if isinstance(ends, Inconclusive):
        return ends
    relative = (
        None
        if isinstance(ratio, Inconclusive)
        else one_end_open(rules, ratio.lower - 1.0, ratio.upper - 1.0)
    )
    return test, one_end_open(rules, ends.lower, ends.upper), relative
