"""What was wrong with events: problems by batch and code, and dead letters kept as they came."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from sqlalchemy import Connection, Table, select

from controller.flow.ports.ingest import DeadLetter, Problem
from controller.storage.sql import bulk
from controller.storage.sql.schema.events import DeadLetterRow, ProblemRow

LETTERS: Table = DeadLetterRow.__table__  # type: ignore[assignment]
PROBLEMS: Table = ProblemRow.__table__  # type: ignore[assignment]


class SqlProblems:
    """Implements `flow.ports.ingest.Problems` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(
        self, problems: Sequence[Problem], letters: Sequence[DeadLetter], *, at_us: int
    ) -> None:
        """Append; a letter that is already there stays as it is."""
        bulk.insert(
            self._connection,
            PROBLEMS,
            [
                (
                    problem.project,
                    _problem_id(problem, at_us),
                    at_us,
                    problem.batch_id,
                    problem.key_id,
                    problem.code,
                    problem.count,
                    bulk.json_text(problem.examples),
                )
                for problem in problems
            ],
            tail=bulk.SKIP,
        )
        bulk.insert(
            self._connection,
            LETTERS,
            [
                (
                    letter.project,
                    letter.batch_id,
                    letter.position,
                    at_us,
                    letter.key_id,
                    letter.code,
                    letter.event_id,
                    letter.detail,
                    letter.body,
                )
                for letter in letters
            ],
            tail=bulk.SKIP,
        )

    def list(self, project: str, *, before: str = "", most: int = 100) -> Sequence[Problem]:
        """Newest first, from before the problem named `before`."""
        query = select(PROBLEMS).where(PROBLEMS.c.project == project)
        if before:
            query = query.where(PROBLEMS.c.id < before)
        rows = self._connection.execute(query.order_by(PROBLEMS.c.id.desc()).limit(most))
        return [Problem(**row._mapping) for row in rows]


def _problem_id(problem: Problem, at_us: int) -> str:
    """Sorts by time; the same problem recorded at the same instant is the same row."""
    name = f"{problem.batch_id}\0{problem.code}".encode()
    return f"{at_us:016x}{blake2b(name, digest_size=8).hexdigest()}"
