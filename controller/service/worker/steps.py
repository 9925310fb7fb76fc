"""What the worker does in each round, in order."""

from __future__ import annotations

from datetime import timedelta

from controller.flow.aggregate import drain
from controller.flow.aliases import apply_aliases
from controller.flow.arm_keeping import keep_arms
from controller.flow.exceptions import Rebuilder, pin_exceptions
from controller.flow.mature import mature
from controller.flow.pin_health import measure_rollouts
from controller.flow.process_counts import ProcessCounts
from controller.flow.reconcile import tick
from controller.flow.restored import RestoreWatch
from controller.flow.retention import drop_old_rulesets, forget_replays
from controller.flow.side_documents import SidePublisher
from controller.service.worker.loops import Step, WorkerRuntime, holder_name
from controller.service.worker.outbox import send_due
from controller.settings import Settings
from controller.telemetry import Telemetry
from controller.wiring import parts

REDIS_PATIENCE_SECONDS = 1.0
RECONCILE_SECONDS = 0.5
MATURE_SECONDS = 0.2
SWEEP_SECONDS = 3600.0
KEEP_SECONDS = 0.5
PIN_SECONDS = 0.2
REBUILD_SECONDS = 1.0
EXCEPT_SECONDS = 0.5
COUNT_SECONDS = 5.0
RESTORED_SECONDS = 1.0


def worker_runtime(settings: Settings) -> WorkerRuntime:
    """Rollbacks first: what is due goes out before more events come in."""
    made = parts(settings, patience_seconds=REDIS_PATIENCE_SECONDS)
    holder = holder_name()
    telemetry = Telemetry()

    def reconcile() -> bool:
        tick(made.store, holder=holder)
        return False

    def pin() -> bool:
        return pin_exceptions(made.store, made.pins)

    rebuilder = Rebuilder(made.store, made.pins)
    publisher = SidePublisher(made.store, holder=holder)
    counts = ProcessCounts(made.store, made.pins, telemetry, answers=False)

    def count() -> bool:
        counts.flush()
        measure_rollouts(made.store, telemetry)
        return False

    def sweep() -> bool:
        made.ingest.sweep()
        return False

    restored = RestoreWatch(made.store, made.notes, made.claim)

    def retain() -> bool:
        forget_replays(made.store)
        return drop_old_rulesets(made.store, keep=timedelta(days=settings.ruleset_days))

    return WorkerRuntime(
        steps=(
            Step("send", lambda: send_due(made.store, made.senders)),
            Step("restored", restored.step, every_seconds=RESTORED_SECONDS),
            Step("reconcile", reconcile, every_seconds=RECONCILE_SECONDS),
            Step("aggregate", lambda: drain(made.ingest, pins=made.pins).requests > 0),
            Step("merge", lambda: apply_aliases(made.ingest)),
            Step("keep", lambda: keep_arms(made.store), every_seconds=KEEP_SECONDS, hurries=True),
            Step("pin", pin, every_seconds=PIN_SECONDS, hurries=True),
            Step("rebuild", rebuilder.step, every_seconds=REBUILD_SECONDS, hurries=True),
            Step("except", publisher.step, every_seconds=EXCEPT_SECONDS, hurries=True),
            Step("mature", lambda: mature(made.ingest).full, every_seconds=MATURE_SECONDS),
            Step("count", count, every_seconds=COUNT_SECONDS),
            Step("sweep", sweep, every_seconds=SWEEP_SECONDS),
            Step("retain", retain, every_seconds=SWEEP_SECONDS, hurries=True),
        ),
        telemetry=telemetry,
        health_host=settings.host,
        health_port=settings.health_port,
        close=made.close,
        ready=made.ready,
    )
