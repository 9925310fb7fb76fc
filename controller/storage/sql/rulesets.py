"""Published rulesets in SQL: the truth that every copy is measured against."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, exists, func, insert, select, tuple_, update
from sqlalchemy.orm import aliased

from controller.flow.ports.rollouts import PublishedRuleset
from controller.storage.sql.schema.rollouts import EpochRow, RulesetRow

_DROPPED = b""


class SqlRulesets:
    """Implements `flow.ports.rollouts.Rulesets` on one connection.

    Attributes
    ----------
    added : PublishedRuleset or None
        The newest that was added here: what the commit of this transaction publishes.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.added: PublishedRuleset | None = None

    def newest(self, project: str) -> PublishedRuleset | None:
        """The ruleset in force, or None before the first slot."""
        row = self._connection.execute(
            select(RulesetRow.__table__)
            .where(RulesetRow.project == project)
            .order_by(RulesetRow.version.desc())
            .limit(1)
        ).one_or_none()
        return None if row is None else PublishedRuleset(**row._mapping)

    def newest_version(self, project: str) -> int:
        """Its version, 0 before the first."""
        version = self._connection.scalar(
            select(func.max(RulesetRow.version)).where(RulesetRow.project == project)
        )
        return version or 0

    def head(self, project: str) -> tuple[int, str] | None:
        """Version and sha256 of the ruleset in force, or None before the first slot."""
        row = self._connection.execute(
            select(RulesetRow.version, RulesetRow.sha256)
            .where(RulesetRow.project == project)
            .order_by(RulesetRow.version.desc())
            .limit(1)
        ).one_or_none()
        return None if row is None else (row.version, row.sha256)

    def projects(self) -> Sequence[str]:
        """Every project that has published one."""
        names = select(RulesetRow.project).distinct().order_by(RulesetRow.project)
        return self._connection.scalars(names).all()

    def add(self, ruleset: PublishedRuleset) -> None:
        """Append; the version must be the highest."""
        self._connection.execute(
            insert(RulesetRow).values(
                project=ruleset.project,
                version=ruleset.version,
                sha256=ruleset.sha256,
                body=ruleset.body,
                created_at=ruleset.created_at,
            )
        )
        self.added = ruleset

    def drop_bodies(self, *, before: datetime, most: int) -> int:
        """Empty the bodies published before an instant that nothing names; how many it were.

        Kept are the newest of each project and every ruleset that opened an epoch: evidence is
        bound to those. Versions and digests stay of all.
        """
        newer = aliased(RulesetRow)
        is_followed = exists().where(
            newer.project == RulesetRow.project, newer.version > RulesetRow.version
        )
        opened_epoch = exists().where(
            EpochRow.project == RulesetRow.project, EpochRow.ruleset == RulesetRow.version
        )
        old = (
            select(RulesetRow.project, RulesetRow.version)
            .where(
                RulesetRow.created_at < before,
                RulesetRow.body != _DROPPED,
                is_followed,
                ~opened_epoch,
            )
            .limit(most)
        )
        return self._connection.execute(
            update(RulesetRow)
            .where(tuple_(RulesetRow.project, RulesetRow.version).in_(old))
            .values(body=_DROPPED)
        ).rowcount
