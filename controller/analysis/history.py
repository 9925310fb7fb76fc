"""Evidence as a chain: each look stores what it has added, and names where the rest is.

The memory of a planned test is a row for each look that counted, two hundred at most; repeating it
in every look's evidence made that evidence grow with every look. A stored look has the rows it has
added itself, the sha256 of the look before, and per test the sha256 of the look that stored the row
before. Walking those names gives the memory the look was taken with, and with it the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from controller.experiments.canonical import sha256_of

Fetch = Callable[[str], Mapping[str, Any] | None]
"""Stored evidence by its sha256, or None."""


class BrokenChain(LookupError):
    """Evidence that a look names is not there, or is not what it names."""


def added(memory: Mapping[str, Any], previous: Mapping[str, Any] | None) -> dict[str, Any]:
    """The memory after a look without the rows that earlier evidence has stored."""
    before = previous["planned"] if previous else {}
    return {
        **memory,
        "planned": {
            key: {**test, "rows": test["rows"][_stored(before.get(key)) :]}
            for key, test in memory["planned"].items()
        },
    }


def kept(
    memory: Mapping[str, Any], previous: Mapping[str, Any] | None, *, sha256: str
) -> dict[str, Any]:
    """The memory that the next look gets, once this one is stored under `sha256`."""
    before = previous["planned"] if previous else {}
    return {
        **memory,
        "looked": sha256,
        "planned": {
            key: {**test, "rows_at": sha256}
            if len(test["rows"]) > _stored(before.get(key))
            else dict(test)
            for key, test in memory["planned"].items()
        },
    }


def memory_before(evidence: Mapping[str, Any], fetch: Fetch) -> dict[str, Any] | None:
    """The memory that a stored look was taken with; None for the first of its chain.

    Raises
    ------
    BrokenChain
        If evidence that it names is missing, or is not what its name says.
    """
    named = evidence["previous"]
    if named is None:
        return None
    last = _fetched(fetch, named)["memory"]
    tests = {}
    for key, test in last["planned"].items():
        at = named if test["rows"] else test["rows_at"]
        tests[key] = {**test, "rows": _rows(key, test, fetch), "rows_at": at}
    return {**last, "planned": tests, "looked": named}


def _rows(key: str, test: Mapping[str, Any], fetch: Fetch) -> list[Any]:
    """Every row of one test, from the look that holds its newest back to the first."""
    parts = [test["rows"]]
    while test["rows_at"] is not None:
        test = _fetched(fetch, test["rows_at"])["memory"]["planned"][key]
        parts.append(test["rows"])
    return [row for part in reversed(parts) for row in part]


def _stored(test: Mapping[str, Any] | None) -> int:
    """Rows of a test that evidence already holds."""
    return len(test["rows"]) if test is not None and test.get("rows_at") else 0


def _fetched(fetch: Fetch, sha256: str) -> Mapping[str, Any]:
    found = fetch(sha256)
    if found is None:
        raise BrokenChain(f"evidence that is not there: {sha256}")
    if sha256_of(found) != sha256:
        raise BrokenChain(f"evidence that has been altered: {sha256}")
    return found
