"""What a command prints: JSON for machines, plain tables for people, nothing else on stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any


def print_json(document: Any) -> None:
    """One JSON document."""
    json.dump(document, sys.stdout, indent=2, ensure_ascii=False)
    print()


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Rows under their column names, padded; `a.b` reads the nested value."""
    cells = [[_cell(row, column) for column in columns] for row in rows]
    heads = [column.rpartition(".")[2].replace("_", " ").upper() for column in columns]
    widths = [max(len(head), *(len(row[i]) for row in cells), 0) for i, head in enumerate(heads)]
    for row in [heads, *cells]:
        print(
            "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        )


def _cell(row: Mapping[str, Any], column: str) -> str:
    value: Any = row
    for part in column.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if value is None:
        return "-"
    return " ".join(str(value).split()) if isinstance(value, str) else json.dumps(value)
