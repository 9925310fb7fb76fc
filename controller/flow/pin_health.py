"""What a rollout's page says about remembered arms and lost events, of the whole service."""

from __future__ import annotations

from typing import Any

from controller.flow.ports.work import Store, Work
from controller.flow.process_counts import Telemetry
from controller.flow.service_counts import (
    DEPLOYMENT,
    EVENTS_LOST,
    EXCEPTED,
    MERGED_KEPT_OUT,
    MERGED_RETIRED,
    PIN_UNKNOWN,
    PINS,
    REBUILT,
    REFUSED,
)
from controller.rollout.record import Rollout


def pin_health(work: Work, rollout: Rollout) -> dict[str, Any]:
    """Pins and exceptions of one rollout, as its status document shows them.

    `available`, `waiting` are what the running processes last said, within some 30 seconds;
    `skipped`, `written_later` and `lost` count since the deployment was set up.
    """
    mine = {name: n for (_, name), n in work.tallies.read(rollout.project, rollout.id).items()}
    seen = {name: n for (_, name), n in work.tallies.read(DEPLOYMENT, DEPLOYMENT).items()}
    running = work.processes.running()
    document = work.side_documents.in_force(rollout.project, rollout.id)
    return {
        "mode": None if rollout.plan is None else rollout.plan.policy.sticky.value,
        "available": all(one.pins_available for one in running) if running else None,
        "waiting": sum(one.pins_waiting for one in running),
        "skipped": seen.get(f"{PINS}skipped", 0),
        "written_later": seen.get(f"{PINS}written_later", 0),
        "lost": seen.get(f"{PINS}lost", 0),
        "merged": mine.get(f"{EXCEPTED}merged", 0),
        "kept_ineligible": mine.get(f"{EXCEPTED}eligibility", 0),
        "published": 0 if document is None else document.units,
        "merged_kept_out": mine.get(MERGED_KEPT_OUT, 0),
        "merged_retired": mine.get(f"{MERGED_RETIRED}{rollout.allocation}", 0),
        "keeping": work.exceptions.is_keeping(rollout.project, rollout.id),
        "rebuilt": mine.get(REBUILT, 0),
        "refused": mine.get(REFUSED, 0),
        "unknown": mine.get(PIN_UNKNOWN, 0),
    }


def events_lost(work: Work, rollout: Rollout) -> dict[str, Any]:
    """Events that SDKs had to drop in this project, by key.

    `during` where the last of them was lost in the rollout's life: its numbers may lack some.
    """
    by_key = work.tallies.grown(rollout.project, EVENTS_LOST)
    last = max((at for _, at in by_key.values()), default=None)
    return {
        "total": sum(n for n, _ in by_key.values()),
        "by_key": {key: n for key, (n, _) in by_key.items()},
        "last_at": None if last is None else last.isoformat(),
        "during": last is not None
        and last >= rollout.created_at
        and (rollout.ended_at is None or last <= rollout.ended_at),
    }


def measure_rollouts(store: Store, telemetry: Telemetry) -> None:
    """Set the gauges of live rollouts: excepted units by reason, and answers without their pin.

    Raises
    ------
    Unavailable
        If the database does not answer.
    """
    with store.reading() as work:
        for rollout in work.rollouts.live():
            seen = pin_health(work, rollout)
            for reason in ("merged", "kept_ineligible"):
                telemetry.gauge("excepted_units", seen[reason], rollout=rollout.id, reason=reason)
            telemetry.gauge("pins_unknown_exposures", seen["unknown"], rollout=rollout.id)
