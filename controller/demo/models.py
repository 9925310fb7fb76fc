"""The two models that compete, really trained, and what their alerts cost the airline.

The champion is the model a team would have written first; the challenger also reads the weather.
The broken challenger is the same trained model behind a feed that delivers zeros instead of
weather: nothing crashes, it alerts on nearly every flight.
"""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from controller.demo.flights import CATEGORIES, FEATURES, SCHEDULE, Flights

ALERT_ABOVE: Final = 0.25
MISSED_COST: Final = 5.0
WARNED_COST: Final = 2.0
FALSE_ALARM_COST: Final = 1.0

_CATEGORY_COLUMNS: Final = [FEATURES.index(name) for name in CATEGORIES]
_SCHEDULE_COLUMNS: Final = [FEATURES.index(name) for name in SCHEDULE]
_FIRST_WEATHER_COLUMN: Final = len(CATEGORIES) + len(SCHEDULE)


class Classifier(Protocol):
    """The part of a scikit-learn classifier that the application calls."""

    def predict_proba(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability of (on time, late) per row, shape (n_rows, 2)."""


class ScheduleModel:
    """Logistic regression on one-hot carrier and origin and standardised hour and distance.

    The encoding is spelled out because an application predicts a few flights at a time, where a
    general-purpose pipeline costs ten times the prediction.
    """

    def __init__(self, features: NDArray[np.float64], late: NDArray[np.bool_]) -> None:
        self._categories = [np.unique(features[:, column]) for column in _CATEGORY_COLUMNS]
        schedule = features[:, _SCHEDULE_COLUMNS]
        self._mean, self._scale = schedule.mean(axis=0), schedule.std(axis=0)
        self._regression = LogisticRegression(max_iter=1000).fit(self._encode(features), late)

    def predict_proba(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability of (on time, late) per row, shape (n_rows, 2)."""
        return np.asarray(self._regression.predict_proba(self._encode(features)))

    def _encode(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        one_hot = [
            features[:, column, None] == known
            for column, known in zip(_CATEGORY_COLUMNS, self._categories, strict=True)
        ]
        schedule = (features[:, _SCHEDULE_COLUMNS] - self._mean) / self._scale
        return np.hstack([*one_hot, schedule])


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """A fitted model as the application serves it.

    Attributes
    ----------
    name, version : str
        As registered with the service.
    digest : str
        sha256 of the fitted model and of how its features arrive.
    weather_feed : bool
        False when the weather columns reach the model as zeros.
    """

    name: str
    version: str
    digest: str
    classifier: Classifier
    weather_feed: bool = True

    def alerts(self, features: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which rows of shape (n, len(FEATURES)) get a late-flight alert, shape (n,)."""
        if not self.weather_feed:
            features = features.copy()
            features[:, _FIRST_WEATHER_COLUMN:] = 0.0
        return self.classifier.predict_proba(features)[:, 1] > ALERT_ABOVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """The champion and the two challengers of the demo."""

    champion: TrainedModel
    weather: TrainedModel
    broken_feed: TrainedModel


def train_models(history: Flights) -> Models:
    """Fit both models on the flights whose outcome is known; takes about a second.

    Parameters
    ----------
    history : Flights
        January to March.
    """
    known = history.subset(history.known)
    boosted = HistGradientBoostingClassifier(
        learning_rate=0.05,
        max_iter=60,
        max_leaf_nodes=8,
        categorical_features=_CATEGORY_COLUMNS,
        random_state=0,
    ).fit(known.features, known.late)
    return Models(
        champion=_model("schedule-logistic", "2013.1", ScheduleModel(known.features, known.late)),
        weather=_model("weather-boosting", "2013.2", boosted),
        broken_feed=_model("weather-boosting", "2013.2-nightly", boosted, weather_feed=False),
    )


def _model(
    name: str, version: str, classifier: Classifier, *, weather_feed: bool = True
) -> TrainedModel:
    content = pickle.dumps((classifier, weather_feed))
    return TrainedModel(
        name=name,
        version=version,
        digest=f"sha256:{hashlib.sha256(content).hexdigest()}",
        classifier=classifier,
        weather_feed=weather_feed,
    )


def cost(alerted: NDArray[np.bool_], late: NDArray[np.bool_]) -> NDArray[np.float64]:
    """What each flight cost: 5 late without an alert, 2 late with one, 1 a false alarm, else 0.

    A flight that was cancelled or diverted never arrives, so it never gets a cost: the application
    reports no outcome for it and the metric counts it as unknown, by arm.
    """
    when_late = np.where(alerted, WARNED_COST, MISSED_COST)
    return np.where(late, when_late, np.where(alerted, FALSE_ALARM_COST, 0.0))
