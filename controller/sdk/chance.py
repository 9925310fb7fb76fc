"""Full-jitter back-off: a crowd of clients spreads out instead of knocking together."""

from __future__ import annotations

import os
from typing import Final

FIRST_SECONDS: Final = 0.25
LONGEST_SECONDS: Final = 30.0


def chance() -> float:
    """A number in [0, 1). From the system, so that forked processes never share a sequence."""
    return int.from_bytes(os.urandom(4)) / 2**32


def ceiling(failures: int) -> float:
    """The longest pause, in seconds, after so many failures in a row (at least 1)."""
    return min(FIRST_SECONDS * 2.0 ** min(failures - 1, 16), LONGEST_SECONDS)
