"""The operator's last word on one machine: a file that names slots which must serve champion."""

from __future__ import annotations

from pathlib import Path
from typing import Final

EVERY_SLOT: Final = "*"
MAX_BYTES: Final = 64 * 1024


def read_override(path: str | Path) -> frozenset[str]:
    """The slot names in the file, separated by white space; `*` means all. None without a file.

    A line's text after ``#`` is a comment. A file that exists but cannot be read counts as `*`:
    somebody wanted to stop something. No file can have a name that is no path.
    """
    try:
        text = Path(path).read_bytes()[:MAX_BYTES].decode("utf-8", "replace")
    except (FileNotFoundError, NotADirectoryError, TypeError, ValueError):
        return frozenset()
    except OSError:
        return frozenset({EVERY_SLOT})
    return frozenset(name for line in text.splitlines() for name in line.partition("#")[0].split())
