"""Two serving policies of a fashion site as two queues of logged clicks.

Each arrival asks the service for an arm and takes the next row of that arm's log, in time order,
until one log is empty: the log of a policy is what really happened to the people it served.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

CHAMPION_POLICY: Final = "random"
CHALLENGER_POLICY: Final = "bts"


@dataclass(frozen=True, slots=True, kw_only=True)
class BanditLog:
    """One week of two policies that served side by side.

    Attributes
    ----------
    arrival_second : ndarray of float64, shape (20000,)
        Seconds from the beginning of the week to each row of either log; never falls.
    champion_clicks, challenger_clicks : ndarray of int64, shape (10000,)
        1 if the shown item was clicked, in time order.
    """

    arrival_second: NDArray[np.float64]
    champion_clicks: NDArray[np.int64]
    challenger_clicks: NDArray[np.int64]

    @property
    def unit_ids(self) -> Sequence[str]:
        """The name of the k-th arrival; no person stands behind it."""
        return [f"arrival-{index}" for index in range(len(self.arrival_second))]


class Queues:
    """Hands out the next logged click of an arm until one log is empty."""

    def __init__(self, log: BanditLog) -> None:
        self._clicks = {"champion": log.champion_clicks, "challenger": log.challenger_clicks}
        self._taken = {"champion": 0, "challenger": 0}

    @property
    def exhausted(self) -> bool:
        """Whether either log is empty."""
        return any(taken == len(self._clicks[arm]) for arm, taken in self._taken.items())

    def take(self, arm: str) -> bool:
        """Whether the next person whom this arm served clicked.

        Raises
        ------
        IndexError
            If the arm's log is empty: ask `exhausted` first.
        """
        index = self._taken[arm]
        clicked = bool(self._clicks[arm][index])
        self._taken[arm] = index + 1
        return clicked


def load_bandit() -> BanditLog:
    """Read the packaged campaign; its rows are sorted by time."""
    packaged = files("controller.demo").joinpath("data", "open_bandit_men.csv.gz")
    with as_file(packaged) as path:
        table = pd.read_csv(path, usecols=["policy", "timestamp", "click"])
    seconds = pd.to_datetime(table["timestamp"], format="ISO8601")
    champion = (table["policy"] == CHAMPION_POLICY).to_numpy(np.bool_)
    clicks = table["click"].to_numpy(np.int64)
    return BanditLog(
        arrival_second=np.asarray((seconds - seconds.iloc[0]).dt.total_seconds(), dtype=np.float64),
        champion_clicks=clicks[champion],
        challenger_clicks=clicks[~champion],
    )
