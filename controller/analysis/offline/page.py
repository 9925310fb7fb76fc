"""The report as a table for notebooks."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from controller.analysis.offline.text import (
    double_exposure,
    interval,
    number,
    probability,
    share,
    verdict_words,
)

_HEADS = (
    "metric",
    "arm",
    "verdict",
    "difference",
    "relative",
    "interval",
    "p",
    "e-value",
    "fixed p",
)


def html_of(document: Mapping[str, Any]) -> str:
    """One experiment's report as an HTML table."""
    title = ", ".join(f"{name} {value}" for name, value in document.get("by", {}).items())
    notes = list(document["warnings"])
    if document["srm"]["alarm"]:
        notes.insert(0, "sample ratio: the split is not the one asked for")
    if document.get("double_exposure") and document["double_exposure"]["units"]:
        notes.insert(0, double_exposure(document["double_exposure"]))
    rows = [
        _row(key, arm, comparison)
        for key, metric in document["metrics"].items()
        for arm, comparison in metric["comparisons"].items()
    ]
    head = "".join(f'<th scope="col">{name}</th>' for name in _HEADS)
    listed = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return (
        f"<table><caption>{escape(title)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>" + (f"<ul>{listed}</ul>" if listed else "")
    )


def _row(key: str, arm: str, comparison: Mapping[str, Any]) -> str:
    test, fixed = comparison["sequential"], comparison["fixed"]
    shown = test or fixed
    cells = (
        key,
        arm,
        verdict_words(comparison),
        number(comparison["estimate"], signed=True),
        share(comparison["relative"]["estimate"]),
        interval(shown["ci"]),
        probability(shown["p"]),
        number(test["e_value"]) if test else "-",
        probability(fixed["p"]),
    )
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
