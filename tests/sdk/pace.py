"""How long an answer takes while something is wrong."""

from __future__ import annotations

import time

from controller.sdk import Client

UNITS = [f"flight-{number}" for number in range(300)]
A_MILLISECOND = 1_000_000


def median_nanoseconds(client: Client) -> float:
    """The median time of an answer, so that a busy neighbour does not fail the test."""
    times = []
    for unit in UNITS:
        started = time.perf_counter_ns()
        client.assign("alert", unit=unit)
        times.append(time.perf_counter_ns() - started)
    return sorted(times)[len(times) // 2]
