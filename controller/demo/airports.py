"""What the clock at a destination shows when it is noon in New York.

The schedule prints arrivals in the destination's local time. To know when an outcome is really
known, every instant has to be put on one clock; the demo uses New York's, the departure airports'.
Zones and the rules of 2013 are those of the IANA time zone database.
"""

from __future__ import annotations

from datetime import date
from typing import Final

SUMMER_TIME_2013: Final = (date(2013, 3, 10), date(2013, 11, 3))
"""First day of daylight saving time in New York in 2013, and the first day after it."""

_CENTRAL: Final = (
    "AUS BHM BNA DFW DSM HOU IAH MCI MDW MEM MKE MSN MSP MSY OKC OMA ORD SAT STL TUL XNA"
)
_MOUNTAIN: Final = "ABQ BZN DEN EGE HDN JAC MTJ SLC"
_PACIFIC: Final = "BUR LAS LAX LGB OAK PDX PSP SAN SEA SFO SJC SMF SNA"
_ATLANTIC: Final = "BQN PSE SJU STT"  # Puerto Rico and the Virgin Islands keep winter time

_AHEAD: Final[dict[str, tuple[int, int]]] = {
    **dict.fromkeys(_CENTRAL.split(), (-60, -60)),
    **dict.fromkeys(_MOUNTAIN.split(), (-120, -120)),
    **dict.fromkeys(_PACIFIC.split(), (-180, -180)),
    **dict.fromkeys(_ATLANTIC.split(), (60, 0)),
    "PHX": (-120, -180),
    "HNL": (-300, -360),
}


def minutes_ahead_of_new_york(airport: str, *, summer: bool) -> int:
    """Minutes by which the airport's local time is ahead of New York's (negative: behind).

    Every airport served from New York in 2013 that is not listed shares New York's time.
    """
    winter_minutes, summer_minutes = _AHEAD.get(airport, (0, 0))
    return summer_minutes if summer else winter_minutes
