"""Instants as events carry them: RFC 3339 text, in UTC and with microseconds when we write it."""

from __future__ import annotations

from datetime import UTC, datetime


def parse_time(text: str) -> datetime | None:
    """An aware datetime of an RFC 3339 text; None where it is not one."""
    # fromisoformat alone would also take dates, week dates and the basic format.
    if not 20 <= len(text) <= 40 or text[10] not in "Tt " or text[4] != "-" or text[13] != ":":
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return instant if instant.tzinfo is not None else None


def format_time(instant: datetime) -> str:
    """RFC 3339 in UTC with microseconds, ``2026-01-31T12:00:00.000000Z``: sorts as text."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds")[:26] + "Z"


def format_unix(seconds: float) -> str:
    """`format_time` of a Unix time."""
    return format_time(datetime.fromtimestamp(seconds, UTC))
