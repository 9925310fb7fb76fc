"""Tables of what happened: the ledger, first exposures, maturation and the sums a look reads.

Instants on these hot tables are whole microseconds since 1970 (`*_us`). Text that clients send is
at most 256 bytes by contract. No foreign keys: every row here is derived from the ledger.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, LargeBinary, SmallInteger, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from controller.storage.sql.base import Base, BigInt, Instant, Json

_CLUSTERED = {"sqlite_with_rowid": False}


class LedgerRow(Base):
    """One accepted event, once. `kind`: 0 exposure, 1 outcome, 2 prediction.

    Units are found by their outcomes alone; exposures and predictions are in no second index.
    `digest` tells a repeat from a reused id; `pinned` is set on an exposure whose arm a pin
    explained; `detail` holds what nothing is computed from.
    """

    __tablename__ = "ledger"
    __table_args__ = (
        Index(
            "ix_ledger_outcomes",
            "project",
            "unit",
            sqlite_where=text("kind = 1"),
            postgresql_where=text("kind = 1"),
        ),
        _CLUSTERED,
    )

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    event_id: Mapped[str] = mapped_column(String(256), primary_key=True)
    kind: Mapped[int] = mapped_column(SmallInteger)
    digest: Mapped[bytes] = mapped_column(LargeBinary(16))
    occurred_us: Mapped[int] = mapped_column(BigInt)
    received_us: Mapped[int] = mapped_column(BigInt)
    unit: Mapped[str | None] = mapped_column(String(256))
    unit_type: Mapped[str | None] = mapped_column(String(256))
    slot: Mapped[str | None] = mapped_column(String(256))
    name: Mapped[str | None] = mapped_column(String(256))
    value: Mapped[float | None]
    corrects: Mapped[str | None] = mapped_column(String(256))
    rollout: Mapped[str | None] = mapped_column(String(256))
    allocation: Mapped[int | None] = mapped_column(BigInt)
    arm: Mapped[str | None] = mapped_column(String(256))
    ruleset: Mapped[int | None] = mapped_column(BigInt)
    reason: Mapped[str | None] = mapped_column(String(256))
    ref: Mapped[str | None] = mapped_column(String(256))
    pinned: Mapped[bool | None]
    detail: Mapped[Any | None] = mapped_column(Json)


class UnitRow(Base):
    """One unit's first exposure in one series of a rollout's evidence.

    A series is a run of allocations in which no living bucket changes arm; it is named by its
    first allocation. `left_for` says why the unit is no longer analysed.
    """

    __tablename__ = "units"
    __table_args__ = _CLUSTERED

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    rollout: Mapped[str] = mapped_column(String(32), primary_key=True)
    series: Mapped[int] = mapped_column(primary_key=True)
    unit: Mapped[str] = mapped_column(String(256), primary_key=True)
    epoch: Mapped[int]
    arm: Mapped[str] = mapped_column(String(64))
    exposed_us: Mapped[int] = mapped_column(BigInt)
    left_for: Mapped[str | None] = mapped_column(String(32))


class MaturationRow(Base):
    """One metric of one unit: waiting for its window, or what it contributed.

    `state`: 0 open, 1 entered with a value, 2 entered without one (missing), 3 left the test,
    4 retired by an edit while its window was open. `epoch` is that of the first exposure until the
    row is settled, from then on the one in which it counts. Contributions are kept so that a
    correction takes out exactly what was put in.
    """

    __tablename__ = "maturations"
    __table_args__ = (
        Index(
            "ix_maturations_due",
            "project",
            "rollout",
            "metric",
            "closes_us",
            sqlite_where=text("state = 0"),
            postgresql_where=text("state = 0"),
        ),
        _CLUSTERED,
    )

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    rollout: Mapped[str] = mapped_column(String(32), primary_key=True)
    metric: Mapped[str] = mapped_column(String(64), primary_key=True)
    series: Mapped[int] = mapped_column(primary_key=True)
    unit: Mapped[str] = mapped_column(String(256), primary_key=True)
    epoch: Mapped[int]
    arm: Mapped[str] = mapped_column(String(64))
    exposed_us: Mapped[int] = mapped_column(BigInt)
    closes_us: Mapped[int] = mapped_column(BigInt)
    state: Mapped[int] = mapped_column(SmallInteger)
    value: Mapped[float | None]
    denominator: Mapped[float | None]
    covariate: Mapped[float | None]
    outcomes: Mapped[Any | None] = mapped_column(Json)
    second_covariate: Mapped[float | None]


class _Sums:
    """Exact sums over units as text, see `aggregation.exact`; `grid` for a quantile metric."""

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    rollout: Mapped[str] = mapped_column(String(32), primary_key=True)
    metric: Mapped[str] = mapped_column(String(64), primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)
    arm: Mapped[str] = mapped_column(String(64), primary_key=True)
    n: Mapped[int] = mapped_column(BigInt)
    missing: Mapped[int] = mapped_column(BigInt)
    nonzero: Mapped[int] = mapped_column(BigInt)
    covariate_n: Mapped[int] = mapped_column(BigInt)
    sums: Mapped[Any] = mapped_column(Json)
    grid: Mapped[Any | None] = mapped_column(Json)


class AccumulatorRow(_Sums, Base):
    """Sums of one metric in one arm of one epoch: entered units only."""

    __tablename__ = "accumulators"


class CarriedRow(_Sums, Base):
    """The part of an accumulator whose rows were erased or retired."""

    __tablename__ = "carried"


class ExposureCountRow(Base):
    """Analysed first exposures: what SRM tests."""

    __tablename__ = "exposure_counts"

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    rollout: Mapped[str] = mapped_column(String(32), primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)
    arm: Mapped[str] = mapped_column(String(64), primary_key=True)
    n: Mapped[int] = mapped_column(BigInt)


class RetirementRow(Base):
    """Units that an edit retired while this metric's window was open, by epoch of exposure."""

    __tablename__ = "retirements"

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    rollout: Mapped[str] = mapped_column(String(32), primary_key=True)
    metric: Mapped[str] = mapped_column(String(64), primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)
    arm: Mapped[str] = mapped_column(String(64), primary_key=True)
    n: Mapped[int] = mapped_column(BigInt)


class ExclusionRow(Base):
    """What is counted and not analysed, by reason."""

    __tablename__ = "exclusions"

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    rollout: Mapped[str] = mapped_column(String(32), primary_key=True)
    reason: Mapped[str] = mapped_column(String(32), primary_key=True)
    arm: Mapped[str] = mapped_column(String(64), primary_key=True)
    n: Mapped[int] = mapped_column(BigInt)


class ObservedUnitRow(Base):
    """A unit that met the champion of a slot at rest: the planner's baseline."""

    __tablename__ = "observed_units"
    __table_args__ = (Index(None, "project", "slot", "exposed_us"), _CLUSTERED)

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    slot: Mapped[str] = mapped_column(String(64), primary_key=True)
    unit: Mapped[str] = mapped_column(String(256), primary_key=True)
    exposed_us: Mapped[int] = mapped_column(BigInt)


class FreshnessRow(Base):
    """When an outcome of this name last arrived, from any unit."""

    __tablename__ = "freshness"

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    outcome: Mapped[str] = mapped_column(String(256), primary_key=True)
    received_us: Mapped[int] = mapped_column(BigInt)


class DeclarationRow(Base):
    """A producer's word that every outcome up to `through_us` has been sent."""

    __tablename__ = "declarations"

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    outcome: Mapped[str] = mapped_column(String(64), primary_key=True)
    source: Mapped[str] = mapped_column(String(128), primary_key=True)
    posted_us: Mapped[int] = mapped_column(BigInt, primary_key=True, autoincrement=False)
    through_us: Mapped[int] = mapped_column(BigInt)
    actor: Mapped[str] = mapped_column(String(128))


class CapRow(Base):
    """The cap of one unit's value where it is a quantile: found once, then frozen."""

    __tablename__ = "caps"

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    rollout: Mapped[str] = mapped_column(String(32), primary_key=True)
    metric: Mapped[str] = mapped_column(String(64), primary_key=True)
    cap: Mapped[float]
    units: Mapped[int]
    origin: Mapped[str] = mapped_column(String(32))


class WatermarkRow(Base):
    """Through when everything received has been aggregated; it never falls."""

    __tablename__ = "watermarks"

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    instant_us: Mapped[int] = mapped_column(BigInt)


class ConsumedRow(Base):
    """How far one inbox has been aggregated: moves in the transaction of its effects (SQLite)."""

    __tablename__ = "consumed"

    lineage: Mapped[str] = mapped_column(String(32), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInt)


class ProblemRow(Base):
    """What was wrong with events of one batch, by code; `examples` names the first few."""

    __tablename__ = "problems"

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    at: Mapped[datetime] = mapped_column(Instant)
    batch_id: Mapped[str] = mapped_column(String(128))
    key_id: Mapped[str] = mapped_column(String(64))
    code: Mapped[str] = mapped_column(String(32))
    count: Mapped[int]
    examples: Mapped[Any] = mapped_column(Json)


class DeadLetterRow(Base):
    """An accepted event that could not be counted, kept as it came."""

    __tablename__ = "dead_letters"

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    batch_id: Mapped[str] = mapped_column(String(128), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(Instant)
    key_id: Mapped[str] = mapped_column(String(64))
    code: Mapped[str] = mapped_column(String(32))
    event_id: Mapped[str | None] = mapped_column(String(256))
    detail: Mapped[str] = mapped_column(Text)
    body: Mapped[bytes] = mapped_column(LargeBinary)


class TombstoneRow(Base):
    """A keyed hash of an erased unit: its later events are refused."""

    __tablename__ = "tombstones"

    project: Mapped[str] = mapped_column(String(64), primary_key=True)
    unit_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    erased_at: Mapped[datetime] = mapped_column(Instant)
