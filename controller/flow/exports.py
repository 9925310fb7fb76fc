"""What can be taken away as a table: every look of a rollout, every entry of the audit log.

Rows are read a page at a time, each page in a transaction of its own: what they are read from is
only ever added to, and is read up to where it ended when the reading began.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from controller.audit.chain import Entry
from controller.errors import NotFound
from controller.flow.ports.rollouts import LookEntry
from controller.flow.ports.work import Store

Cell = str | int | float | bool | datetime | None

LOOKS_A_PAGE: Final = 100
ENTRIES_A_PAGE: Final = 1000

_OF_A_LOOK: Final = ("look", "taken_at", "state", "stage", "enrolled")
_OF_ITS_VERDICT: Final = ("look_verdict", "look_reason")
_OF_A_METRIC: Final = ("metric", "role", "units")
_OF_A_COMPARISON: Final = (
    "arm", "finding", "finding_reason", "estimate", "low", "high", "relative", "margin"
)  # fmt: skip
_OF_A_TEST: Final = (
    "claim", "mode", "test_look", "t", "z", "bound", "futility_bound", "p", "e_value", "crossed"
)  # fmt: skip
LOOK_COLUMNS: Final = (
    *_OF_A_LOOK, *_OF_ITS_VERDICT, *_OF_A_METRIC, *_OF_A_COMPARISON, *_OF_A_TEST, "evidence_sha256"
)  # fmt: skip
AUDIT_COLUMNS: Final = ("seq", "at", "actor", "action", "object", "details", "previous", "hash")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table on its way out; `rows` can be read once."""

    name: str
    columns: tuple[str, ...]
    rows: Iterator[Sequence[Cell]]


def look_table(store: Store, project: str, rollout: str) -> Table:
    """Every look of a rollout, one row for each test (or comparison, or metric, without any).

    Raises
    ------
    NotFound
        If there is no such rollout in the project.
    """
    with store.reading() as work:
        found = work.rollouts.get(project, rollout)
    if found is None:
        raise NotFound(f"There is no rollout {rollout!r:.80}.")
    rows = _look_rows(store, project, rollout)
    return Table(name=f"looks-{rollout}", columns=LOOK_COLUMNS, rows=rows)


def audit_table(store: Store, project: str, *, object: str | None = None) -> Table:
    """Every entry of a project's audit log in order, or those about one object."""
    with store.reading() as work:
        head = work.audit.head(project)
    rows = _audit_rows(store, project, object, through=0 if head is None else head.seq)
    return Table(name="audit", columns=AUDIT_COLUMNS, rows=rows)


def _look_rows(store: Store, project: str, rollout: str) -> Iterator[Sequence[Cell]]:
    after = 0
    while True:
        with store.reading() as work:
            page = work.evidence.looks_after(project, rollout, after=after, most=LOOKS_A_PAGE)
        for look in page:
            yield from _of_look(look)
        if len(page) < LOOKS_A_PAGE:
            return
        after = page[-1].number


def _of_look(look: LookEntry) -> Iterator[Sequence[Cell]]:
    summary = look.summary
    first = (look.number, look.taken_at, *(summary[key] for key in _OF_A_LOOK[2:]))
    verdict = (summary["verdict"], summary["reason"])
    for key, metric in summary["metrics"].items():
        about = (key, metric["role"], metric["n"])
        for rest in _of_metric(metric):
            yield (*first, *verdict, *about, *rest, look.evidence_sha256)


def _of_metric(metric: Mapping[str, Any]) -> Iterator[tuple[Cell, ...]]:
    for one in metric["comparisons"]:
        found = (one["arm"], one["verdict"], one["reason"])
        sizes = tuple(one[key] for key in _OF_A_COMPARISON[3:])
        for test in one["tests"]:
            yield (*found, *sizes, *_of_test(test))
        if not one["tests"]:
            yield (*found, *sizes, *(None for _ in _OF_A_TEST))
    if not metric["comparisons"]:
        yield tuple(None for _ in (*_OF_A_COMPARISON, *_OF_A_TEST))


def _of_test(test: Mapping[str, Any]) -> tuple[Cell, ...]:
    return tuple(test["look" if key == "test_look" else key] for key in _OF_A_TEST)


def _audit_rows(
    store: Store, project: str, object: str | None, *, through: int
) -> Iterator[Sequence[Cell]]:
    after = 0
    while after < through:
        with store.reading() as work:
            page = work.audit.entries(project, after=after, most=ENTRIES_A_PAGE, object=object)
        yield from (_of_entry(entry) for entry in page if entry.seq <= through)
        if len(page) < ENTRIES_A_PAGE:
            return
        after = page[-1].seq


def _of_entry(entry: Entry) -> Sequence[Cell]:
    details = json.loads(entry.record).get("details")
    return (
        entry.seq,
        entry.at,
        entry.actor,
        entry.action,
        entry.object,
        json.dumps(details, ensure_ascii=False) if details else None,
        entry.previous,
        entry.hash,
    )
