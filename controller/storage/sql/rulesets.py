"""Published rulesets in SQL: the truth that every copy is measured against."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, func, insert, select

from controller.flow.ports.rollouts import PublishedRuleset
from controller.storage.sql.schema.rollouts import RulesetRow


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
