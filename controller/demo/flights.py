"""Real departures of 2013 and the order in which their outcomes became known.

A prediction is made when the scheduled hour of departure begins; whether the flight was late is
known when the aircraft has really arrived, hours later and in another order. `Flights` puts both
instants on one clock, New York's, counted in minutes from the beginning of 2013.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from importlib.resources import as_file, files
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from controller.demo.airports import SUMMER_TIME_2013, minutes_ahead_of_new_york

YEAR_BEGINS: Final = date(2013, 1, 1)
FIRST_LIVE_MONTH: Final = 4
LATE_AFTER_MINUTES: Final = 15
NEVER: Final = -1
"""`arrived_minute` of a flight that was cancelled or diverted: its outcome never becomes known."""

CATEGORIES: Final = ("carrier", "origin")
SCHEDULE: Final = ("hour", "distance")
WEATHER: Final = ("temp", "humid", "wind_speed", "precip", "visib", "pressure")
FEATURES: Final = (*CATEGORIES, *SCHEDULE, *WEATHER)

_DAY_MINUTES: Final = 24 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Flights:
    """Departures in scheduled order; every array has shape (n_flights,) unless said.

    Attributes
    ----------
    flight_id : ndarray of int64
        Identity of a departure.
    month : ndarray of int64
        1 to 12.
    predict_minute : ndarray of int64
        Beginning of the scheduled hour, when the prediction is made; never falls.
    arrived_minute : ndarray of int64
        Scheduled arrival + arrival delay, when the outcome is known; `NEVER` if it never is.
    late : ndarray of bool
        More than 15 minutes behind schedule on arrival; False where nothing is known.
    features : ndarray of float64, shape (n_flights, len(FEATURES))
        Columns in the order of `FEATURES`; categories as codes, NaN where a sensor was silent.
    """

    flight_id: NDArray[np.int64]
    month: NDArray[np.int64]
    predict_minute: NDArray[np.int64]
    arrived_minute: NDArray[np.int64]
    late: NDArray[np.bool_]
    features: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.flight_id)

    @property
    def known(self) -> NDArray[np.bool_]:
        """Whether the outcome ever becomes known, shape (n_flights,)."""
        return np.asarray(self.arrived_minute != NEVER, dtype=np.bool_)

    def subset(self, chosen: NDArray[np.bool_] | slice) -> Flights:
        """The chosen flights, order kept."""
        return Flights(
            flight_id=self.flight_id[chosen],
            month=self.month[chosen],
            predict_minute=self.predict_minute[chosen],
            arrived_minute=self.arrived_minute[chosen],
            late=self.late[chosen],
            features=self.features[chosen],
        )

    def history(self) -> Flights:
        """January to March: what both models learn from."""
        return self.subset(self.month < FIRST_LIVE_MONTH)

    def live(self) -> Flights:
        """April to December: what the application lives through."""
        return self.subset(self.month >= FIRST_LIVE_MONTH)


def load_flights() -> Flights:
    """Read the packaged departures; they are sorted by scheduled time.

    Returns
    -------
    Flights
        112,349 departures, 2.8 % of them without an outcome.
    """
    packaged = files("controller.demo").joinpath("data", "flights2013.csv.gz")
    with as_file(packaged) as path:
        table = pd.read_csv(path, keep_default_na=True)
    scheduled = _day_minute(table) + table["hour"].to_numpy(np.int64) * 60
    return Flights(
        flight_id=table["flight_id"].to_numpy(np.int64),
        month=table["month"].to_numpy(np.int64),
        predict_minute=scheduled,
        arrived_minute=_arrived(table),
        late=(table["arr_delay"] > LATE_AFTER_MINUTES).to_numpy(np.bool_),
        features=_features(table),
    )


def date_at(minute: float) -> date:
    """New York's date at a minute of 2013."""
    return YEAR_BEGINS + timedelta(days=int(minute // _DAY_MINUTES))


@cache
def _day_text(day: int) -> str:
    return (YEAR_BEGINS + timedelta(days=day)).isoformat()


def date_text(minute: float) -> str:
    """`date_at` in ISO 8601, cheap enough to go with every event."""
    return _day_text(int(minute // _DAY_MINUTES))


def _features(table: pd.DataFrame) -> NDArray[np.float64]:
    """Feature matrix; a category's code is its rank among the values of the whole year."""
    columns = [np.unique(table[name].astype(str), return_inverse=True)[1] for name in CATEGORIES]
    columns += [table[name].to_numpy(np.float64) for name in (*SCHEDULE, *WEATHER)]
    return np.column_stack(columns).astype(np.float64)


def _day_minute(table: pd.DataFrame) -> NDArray[np.int64]:
    """Minutes from the beginning of 2013 to the beginning of each flight's day."""
    stamps = pd.to_datetime(
        {"year": YEAR_BEGINS.year, "month": table["month"], "day": table["day"]}
    )
    days = (stamps - pd.Timestamp(YEAR_BEGINS)).dt.days
    return np.asarray(days, dtype=np.int64) * _DAY_MINUTES


def _arrived(table: pd.DataFrame) -> NDArray[np.int64]:
    """The minute at which each aircraft really arrived, `NEVER` where it did not.

    The block time is what the two printed local times differ by, corrected for the zones: the only
    value in [0, 24 h) that does so, because no flight from New York takes a day.
    """
    departs = _clock_minutes(table["sched_dep_time"])
    day = _day_minute(table)
    block = (_clock_minutes(table["sched_arr_time"]) - departs - _ahead(table, day)) % _DAY_MINUTES
    delay = table["arr_delay"].to_numpy(np.float64)
    arrived = day + departs + block + np.nan_to_num(delay).astype(np.int64)
    return np.where(np.isnan(delay), NEVER, arrived).astype(np.int64)


def _clock_minutes(hhmm: pd.Series[int]) -> NDArray[np.int64]:
    """HHMM as minutes since midnight."""
    value = hhmm.to_numpy(np.int64)
    return value // 100 * 60 + value % 100


def _ahead(table: pd.DataFrame, day_minute: NDArray[np.int64]) -> NDArray[np.int64]:
    """Minutes by which each destination's local time is ahead of New York's on that day."""
    begins, ends = ((day - YEAR_BEGINS).days * _DAY_MINUTES for day in SUMMER_TIME_2013)
    summer = (day_minute >= begins) & (day_minute < ends)
    dest = table["dest"]
    offsets = {
        season: dest.map(
            {
                airport: minutes_ahead_of_new_york(airport, summer=season)
                for airport in dest.unique()
            }
        ).to_numpy(np.int64)
        for season in (False, True)
    }
    return np.where(summer, offsets[True], offsets[False])
