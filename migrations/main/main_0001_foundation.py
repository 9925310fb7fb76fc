"""Foundation.

Revision ID: main_0001
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "main_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "accumulators",
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("rollout", sa.String(length=32), nullable=False),
        sa.Column("metric", sa.String(length=64), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("arm", sa.String(length=64), nullable=False),
        sa.Column("n", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("missing", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("nonzero", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "covariate_n", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("sums", sa.Text(), nullable=False),
        sa.Column("grid", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint(
            "project", "rollout", "metric", "epoch", "arm", name=op.f("pk_accumulators")
        ),
    )
    op.create_table(
        "allocations",
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("rollout", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("weights", sa.Text(), nullable=False),
        sa.Column("runs", sa.Text(), nullable=False),
        sa.Column("retired", sa.Text(), nullable=False),
        sa.Column("analysed", sa.Boolean(), nullable=False),
        sa.Column(
            "opened_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.PrimaryKeyConstraint("project", "rollout", "number", name=op.f("pk_allocations")),
    )
    op.create_table(
        "audit",
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column(
            "seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("actor", sa.String(length=128), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("object", sa.String(length=160), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("project", "seq", name=op.f("pk_audit")),
    )
    op.create_table(
        "caps",
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("rollout", sa.String(length=32), nullable=False),
        sa.Column("metric", sa.String(length=64), nullable=False),
        sa.Column("cap", sa.Double(), nullable=False),
        sa.Column("units", sa.Integer(), nullable=False),
        sa.Column("origin", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("project", "rollout", "metric", name=op.f("pk_caps")),
    )
    op.create_table(
        "carried",
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("rollout", sa.String(length=32), nullable=False),
        sa.Column("metric", sa.String(length=64), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("arm", sa.String(length=64), nullable=False),
        sa.Column("n", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("missing", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("nonzero", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "covariate_n", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("sums", sa.Text(), nullable=False),
        sa.Column("grid", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint(
            "project", "rollout", "metric", "epoch", "arm", name=op.f("pk_carried")
        ),
    )
    op.create_table(
        "consumed",
        sa.Column("lineage", sa.String(length=32), nullable=False),
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("lineage", name=op.f("pk_consumed")),
    )
    op.create_table(
        "dead_letters",
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("batch_id", sa.String(length=128), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("key_id", sa.String(length=64), nullable=False),
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("event_id", sa.String(length=256), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("project", "batch_id", "position", name=op.f("pk_dead_letters")),
    )
    op.create_table(
        "decisions",
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("rollout", sa.String(length=32), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("actor", sa.String(length=128), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("from_state", sa.String(length=16), nullable=True),
        sa.Column("to_state", sa.String(length=16), nullable=True),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project", "rollout", "seq", name=op.f("pk_decisions")),
    )
    op.create_table(
        "declarations",
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("outcome", sa.String(length=64), nullable=False),
        sa.Column("source", sa.String(length=128), nullable=False),
        sa.Column(
            "posted_us",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column(
            "through_us", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("actor", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint(
            "project", "outcome", "source", "posted_us", name=op.f("pk_declarations")
        ),
    )
    op.create_table(
        "deployment",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column(
            "created_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deployment")),
    )
    op.create_table(
        "epochs",
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("rollout", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("allocation", sa.Integer(), nullable=False),
        sa.Column("enrolled_ppm", sa.Integer(), nullable=False),
        sa.Column("ruleset", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "opened_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.PrimaryKeyConstraint("project", "rollout", "number", name=op.f("pk_epochs")),
    )
    op.create_table(
        "evidence",
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("rollout", sa.String(length=32), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column(
            "created_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.PrimaryKeyConstraint("project", "sha256", name=op.f("pk_evidence")),
    )
    op.create_table(
        "exclusions",
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("rollout", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("arm", sa.String(length=64), nullable=False),
        sa.Column("n", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("project", "rollout", "reason", "arm", name=op.f("pk_exclusions")),
    )
    op.create_table(
        "exposure_counts",
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("rollout", sa.String(length=32), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("arm", sa.String(length=64), nullable=False),
        sa.Column("n", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint(
            "project", "rollout", "epoch", "arm", name=op.f("pk_exposure_counts")
        ),
    )
    op.create_table(
        "freshness",
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("outcome", sa.String(length=256), nullable=False),
        sa.Column(
            "received_us", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.PrimaryKeyConstraint("project", "outcome", name=op.f("pk_freshness")),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("holder", sa.String(length=128), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column(
            "expires_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )
    op.create_table(
        "ledger",
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("event_id", sa.String(length=256), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=16), nullable=False),
        sa.Column(
            "occurred_us", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column(
            "received_us", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("unit", sa.String(length=256), nullable=True),
        sa.Column("unit_type", sa.String(length=256), nullable=True),
        sa.Column("slot", sa.String(length=256), nullable=True),
        sa.Column("name", sa.String(length=256), nullable=True),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("corrects", sa.String(length=256), nullable=True),
        sa.Column("rollout", sa.String(length=256), nullable=True),
        sa.Column(
            "allocation", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.Column("arm", sa.String(length=256), nullable=True),
        sa.Column("ruleset", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("reason", sa.String(length=256), nullable=True),
        sa.Column("ref", sa.String(length=256), nullable=True),
        sa.Column("pinned", sa.Boolean(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("project", "event_id", name=op.f("pk_ledger")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_ledger_outcomes",
        "ledger",
        ["project", "unit"],
        unique=False,
        sqlite_where=sa.text("kind = 1"),
        postgresql_where=sa.text("kind = 1"),
    )
    op.create_table(
        "looks",
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("rollout", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("evidence_sha256", sa.String(length=64), nullable=False),
        sa.Column("taken_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project", "rollout", "number", name=op.f("pk_looks")),
    )
    op.create_table(
        "maturations",
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("rollout", sa.String(length=32), nullable=False),
        sa.Column("metric", sa.String(length=64), nullable=False),
        sa.Column("series", sa.Integer(), nullable=False),
        sa.Column("unit", sa.String(length=256), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("arm", sa.String(length=64), nullable=False),
        sa.Column(
            "exposed_us", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column(
            "closes_us", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("denominator", sa.Double(), nullable=True),
        sa.Column("covariate", sa.Double(), nullable=True),
        sa.Column("outcomes", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint(
            "project", "rollout", "metric", "series", "unit", name=op.f("pk_maturations")
        ),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_maturations_due",
        "maturations",
        ["project", "rollout", "metric", "closes_us"],
        unique=False,
        sqlite_where=sa.text("state = 0"),
        postgresql_where=sa.text("state = 0"),
    )
    op.create_table(
        "metrics",
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column(
            "updated_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("updated_by", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("project", "key", name=op.f("pk_metrics")),
    )
    op.create_table(
        "observed_units",
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("slot", sa.String(length=64), nullable=False),
        sa.Column("unit", sa.String(length=256), nullable=False),
        sa.Column(
            "exposed_us", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.PrimaryKeyConstraint("project", "slot", "unit", name=op.f("pk_observed_units")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        op.f("ix_observed_units_project_slot_exposed_us"),
        "observed_units",
        ["project", "slot", "exposed_us"],
        unique=False,
    )
    op.create_table(
        "operators",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("roles", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.String(length=256), nullable=True),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column(
            "created_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_operators")),
    )
    op.create_table(
        "outbox",
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column(
            "created_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("due_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("done_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.PrimaryKeyConstraint("project", "id", name=op.f("pk_outbox")),
    )
    op.create_index(op.f("ix_outbox_done_at_due_at"), "outbox", ["done_at", "due_at"], unique=False)
    op.create_table(
        "policies",
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column(
            "created_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("created_by", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("project", "name", "version", name=op.f("pk_policies")),
    )
    op.create_table(
        "problems",
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("batch_id", sa.String(length=128), nullable=False),
        sa.Column("key_id", sa.String(length=64), nullable=False),
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("examples", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project", "id", name=op.f("pk_problems")),
    )
    op.create_table(
        "proposals",
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("rollout", sa.String(length=32), nullable=False),
        sa.Column("gate", sa.String(length=64), nullable=False),
        sa.Column("transition", sa.String(length=32), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column(
            "opened_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column(
            "expires_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("closed_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.PrimaryKeyConstraint("project", "id", name=op.f("pk_proposals")),
    )
    op.create_index(
        op.f("ix_proposals_project_rollout_status"),
        "proposals",
        ["project", "rollout", "status"],
        unique=False,
    )
    op.create_index(
        "uq_proposals_open",
        "proposals",
        ["project", "rollout"],
        unique=True,
        sqlite_where=sa.text("status = 'open'"),
        postgresql_where=sa.text("status = 'open'"),
    )
    op.create_table(
        "replays",
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("request_sha256", sa.String(length=64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column(
            "created_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.PrimaryKeyConstraint("project", "key", name=op.f("pk_replays")),
    )
    op.create_table(
        "rollouts",
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("slot", sa.String(length=64), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("retry_of", sa.String(length=32), nullable=True),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("plan", sa.Text(), nullable=True),
        sa.Column("plan_sha256", sa.String(length=64), nullable=True),
        sa.Column("salt", sa.String(length=32), nullable=False),
        sa.Column("enrolled_ppm", sa.Integer(), nullable=False),
        sa.Column("allocation", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("paused", sa.Text(), nullable=False),
        sa.Column(
            "paused_since", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.Column("paused_seconds", sa.Double(), nullable=False),
        sa.Column(
            "entered_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column(
            "stage_entered_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column(
            "deadline_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.Column(
            "created_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("ended_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column("judgement", sa.Text(), nullable=True),
        sa.Column("look_number", sa.Integer(), nullable=False),
        sa.Column("look_sha256", sa.String(length=64), nullable=True),
        sa.Column("look_memory", sa.Text(), nullable=True),
        sa.Column(
            "next_look_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.CheckConstraint("enrolled_ppm between 0 and 1000000", name=op.f("ck_rollouts_enrolled")),
        sa.PrimaryKeyConstraint("project", "id", name=op.f("pk_rollouts")),
    )
    op.create_index(
        op.f("ix_rollouts_project_slot_state"),
        "rollouts",
        ["project", "slot", "state"],
        unique=False,
    )
    op.create_index(
        "uq_rollouts_live",
        "rollouts",
        ["project", "slot"],
        unique=True,
        sqlite_where=sa.text(
            "state not in ('Draft', 'Promoted', 'RolledBack', 'Cancelled', 'Superseded')"
        ),
        postgresql_where=sa.text(
            "state not in ('Draft', 'Promoted', 'RolledBack', 'Cancelled', 'Superseded')"
        ),
    )
    op.create_table(
        "rulesets",
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column(
            "version",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column(
            "created_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.PrimaryKeyConstraint("project", "version", name=op.f("pk_rulesets")),
    )
    op.create_table(
        "service_keys",
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("key_id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("auth_hash", sa.String(length=64), nullable=False),
        sa.Column("signing_key", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("origins", sa.Text(), nullable=False),
        sa.Column("created_by", sa.String(length=128), nullable=False),
        sa.Column(
            "created_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column(
            "expires_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.Column(
            "revoked_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.PrimaryKeyConstraint("project", "key_id", name=op.f("pk_service_keys")),
    )
    op.create_index(op.f("ix_service_keys_key_id"), "service_keys", ["key_id"], unique=True)
    op.create_table(
        "slots",
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("observe_salt", sa.String(length=32), nullable=False),
        sa.Column("previous_champion", sa.Text(), nullable=True),
        sa.Column("kill", sa.Text(), nullable=True),
        sa.Column(
            "updated_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("updated_by", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("project", "key", name=op.f("pk_slots")),
    )
    op.create_table(
        "tombstones",
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("unit_hash", sa.String(length=64), nullable=False),
        sa.Column(
            "erased_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.PrimaryKeyConstraint("project", "unit_hash", name=op.f("pk_tombstones")),
    )
    op.create_table(
        "units",
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("rollout", sa.String(length=32), nullable=False),
        sa.Column("series", sa.Integer(), nullable=False),
        sa.Column("unit", sa.String(length=256), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("arm", sa.String(length=64), nullable=False),
        sa.Column(
            "exposed_us", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("left_for", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("project", "rollout", "series", "unit", name=op.f("pk_units")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "votes",
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column("proposal", sa.String(length=32), nullable=False),
        sa.Column("voter", sa.String(length=128), nullable=False),
        sa.Column("vote", sa.String(length=8), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("method", sa.String(length=16), nullable=False),
        sa.Column("voted_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("project", "proposal", "voter", name=op.f("pk_votes")),
    )
    op.create_table(
        "watermarks",
        sa.Column("project", sa.String(length=64), nullable=False),
        sa.Column(
            "instant_us", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.PrimaryKeyConstraint("project", name=op.f("pk_watermarks")),
    )
    op.create_table(
        "operator_tokens",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("operator", sa.String(length=64), nullable=False),
        sa.Column(
            "created_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["operator"], ["operators.name"], name=op.f("fk_operator_tokens_operator")
        ),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_operator_tokens")),
    )
    op.create_index(
        op.f("ix_operator_tokens_operator"), "operator_tokens", ["operator"], unique=False
    )
    op.create_table(
        "sessions",
        sa.Column("id_hash", sa.String(length=64), nullable=False),
        sa.Column("operator", sa.String(length=64), nullable=False),
        sa.Column("csrf", sa.String(length=64), nullable=False),
        sa.Column(
            "created_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("seen_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "authenticated_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["operator"], ["operators.name"], name=op.f("fk_sessions_operator")
        ),
        sa.PrimaryKeyConstraint("id_hash", name=op.f("pk_sessions")),
    )
    op.create_index(op.f("ix_sessions_operator"), "sessions", ["operator"], unique=False)
    op.create_table(
        "sign_in_links",
        sa.Column("link_hash", sa.String(length=64), nullable=False),
        sa.Column("operator", sa.String(length=64), nullable=False),
        sa.Column(
            "expires_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("used_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.ForeignKeyConstraint(
            ["operator"], ["operators.name"], name=op.f("fk_sign_in_links_operator")
        ),
        sa.PrimaryKeyConstraint("link_hash", name=op.f("pk_sign_in_links")),
    )


def downgrade() -> None:
    op.drop_table("sign_in_links")
    op.drop_index(op.f("ix_sessions_operator"), table_name="sessions")
    op.drop_table("sessions")
    op.drop_index(op.f("ix_operator_tokens_operator"), table_name="operator_tokens")
    op.drop_table("operator_tokens")
    op.drop_table("watermarks")
    op.drop_table("votes")
    op.drop_table("units")
    op.drop_table("tombstones")
    op.drop_table("slots")
    op.drop_index(op.f("ix_service_keys_key_id"), table_name="service_keys")
    op.drop_table("service_keys")
    op.drop_table("rulesets")
    op.drop_index(
        "uq_rollouts_live",
        table_name="rollouts",
        sqlite_where=sa.text(
            "state not in ('Draft', 'Promoted', 'RolledBack', 'Cancelled', 'Superseded')"
        ),
        postgresql_where=sa.text(
            "state not in ('Draft', 'Promoted', 'RolledBack', 'Cancelled', 'Superseded')"
        ),
    )
    op.drop_index(op.f("ix_rollouts_project_slot_state"), table_name="rollouts")
    op.drop_table("rollouts")
    op.drop_table("replays")
    op.drop_index(
        "uq_proposals_open",
        table_name="proposals",
        sqlite_where=sa.text("status = 'open'"),
        postgresql_where=sa.text("status = 'open'"),
    )
    op.drop_index(op.f("ix_proposals_project_rollout_status"), table_name="proposals")
    op.drop_table("proposals")
    op.drop_table("problems")
    op.drop_table("policies")
    op.drop_index(op.f("ix_outbox_done_at_due_at"), table_name="outbox")
    op.drop_table("outbox")
    op.drop_table("operators")
    op.drop_index(op.f("ix_observed_units_project_slot_exposed_us"), table_name="observed_units")
    op.drop_table("observed_units")
    op.drop_table("metrics")
    op.drop_index(
        "ix_maturations_due",
        table_name="maturations",
        sqlite_where=sa.text("state = 0"),
        postgresql_where=sa.text("state = 0"),
    )
    op.drop_table("maturations")
    op.drop_table("looks")
    op.drop_index(
        "ix_ledger_outcomes",
        table_name="ledger",
        sqlite_where=sa.text("kind = 1"),
        postgresql_where=sa.text("kind = 1"),
    )
    op.drop_table("ledger")
    op.drop_table("leases")
    op.drop_table("freshness")
    op.drop_table("exposure_counts")
    op.drop_table("exclusions")
    op.drop_table("evidence")
    op.drop_table("epochs")
    op.drop_table("deployment")
    op.drop_table("declarations")
    op.drop_table("decisions")
    op.drop_table("dead_letters")
    op.drop_table("consumed")
    op.drop_table("carried")
    op.drop_table("caps")
    op.drop_table("audit")
    op.drop_table("allocations")
    op.drop_table("accumulators")
