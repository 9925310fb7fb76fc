from __future__ import annotations

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as the command does, before scikit-learn loads

from controller.demo.flights import Flights, load_flights
from controller.demo.models import Models, train_models


@pytest.fixture(scope="session")
def flights() -> Flights:
    return load_flights()


@pytest.fixture(scope="session")
def models(flights: Flights) -> Models:
    return train_models(flights.history())
