"""Units that met an arm keep it when their rollout's condition is narrowed, however many they are.

The edit writes one order and commits; the worker carries it out in batches, each in a transaction
with the place it has come to, so a crash costs at most one batch that is done again. Whom an order
names does not depend on when it is carried out: units whose first exposure is of an earlier epoch.
One of those whose exposure is aggregated only later is excepted there (`merging.keep_met_arms`).

Evidence never depends on it: a unit's arm, series and epoch follow from the split and its first
exposure, whether its exception has been written yet or not. What waits is only what SDKs that ask
no pin store, and policies that pin nothing but exceptions, answer to a unit that is no longer
eligible: champion, as to everybody who is not, until its exception is written.
"""

from __future__ import annotations

from typing import Final

from controller.aggregation.exposures import Split, series_of
from controller.experiments.policies import Sticky
from controller.flow.ports.identities import Because, Keeping
from controller.flow.ports.work import Store, Work
from controller.flow.service_counts import count_excepted
from controller.rollout.record import Rollout

UNITS_A_TURN: Final = 2_000


def order_keeping(work: Work, rollout: Rollout) -> bool:
    """Have every unit exposed before this edit keep its arm, eligible or not; whether it will.

    It will not under a policy that remembers nobody's arm.

    Call it in the edit's transaction, with the rollout as it is saved: its allocation and epoch are
    those that the edit opens.
    """
    if rollout.frozen_plan.policy.sticky is Sticky.NONE:
        return False
    work.exceptions.order_keeping(
        Keeping(
            project=rollout.project,
            rollout=rollout.id,
            allocation=rollout.allocation,
            series=_series(work, rollout),
            before_epoch=rollout.epoch,
        )
    )
    return True


def keep_arms(store: Store, *, most: int = UNITS_A_TURN) -> bool:
    """Carry out the next part of an order; whether more waits.

    An order ends with its rollout: nobody is answered by it any more.

    Raises
    ------
    Unavailable
        If the database does not answer; nothing happened.
    """
    with store.reading() as work:
        orders = work.exceptions.keepings()
    if not orders:
        return False
    order = orders[0]
    with store.writing() as work:
        rollout = work.rollouts.get(order.project, order.rollout)
        if rollout is None or not rollout.state.exposed:
            work.exceptions.drop_keeping(order)
            return True
        kept = work.exceptions.keep_some(order, most=most)
        if kept:
            new = {Because.ELIGIBILITY.value: kept}
            count_excepted(work, order.project, order.rollout, new)
    return True


def _series(work: Work, rollout: Rollout) -> int:
    """The series of evidence that the rollout is in, named by its first allocation."""
    allocations = work.rollouts.allocations(rollout.project, rollout.id)
    return series_of(
        [
            Split(number=one.number, runs=one.runs, retired=one.retired, analysed=one.analysed)
            for one in allocations
        ]
    )[rollout.allocation]
