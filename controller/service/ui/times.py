"""How instants and durations are written: stored in UTC, shown in UTC, the zone always printed."""

from __future__ import annotations

from datetime import UTC, datetime

from controller.flow.numbers import duration


def instant(text: str | datetime | None) -> datetime | None:
    """An aware UTC instant of an RFC 3339 text; None stays None."""
    if text is None:
        return None
    at = text if isinstance(text, datetime) else datetime.fromisoformat(text)
    return at.astimezone(UTC)


def machine(at: datetime) -> str:
    """RFC 3339 with Z, for the `datetime` attribute."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def full(at: datetime) -> str:
    """`23 Nov 2026, 08:07:12 UTC`."""
    at = at.astimezone(UTC)
    return f"{at.day} {at:%b %Y, %H:%M:%S} UTC"


def short(at: datetime, now: datetime) -> str:
    """The clock for today, the day for everything else, both with the zone."""
    at, now = at.astimezone(UTC), now.astimezone(UTC)
    if at.date() == now.date():
        return f"{at:%H:%M:%S} UTC"
    return f"{at.day} {at:%b %Y, %H:%M} UTC"


def relative(at: datetime, now: datetime) -> str:
    """`just now`, `4 min ago`, `2 h ago`, `in 3 h 10 min`: coarse, so pages may stay the same."""
    seconds = (now - at).total_seconds()
    if abs(seconds) < 60:
        return "just now" if seconds >= 0 else "in less than a minute"
    rounded = duration(abs(seconds) // 60 * 60)
    if seconds > 0:
        return " ".join(rounded.split()[:2]) + " ago"
    return f"in {rounded}"
