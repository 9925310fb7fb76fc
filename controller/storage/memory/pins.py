"""Pins in this process's memory: the twin of the Redis store, for one process and for tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from threading import Lock

from controller.assignment.choice import Pin
from controller.flow.ports_pins import PinCounts, PinKey, Wanted


class MemoryPins:
    """The pins port over a dictionary. Forgets a unit when its time to live has passed."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._units: dict[PinKey, tuple[float, dict[tuple[str, int], Pin]]] = {}
        self._reads = 0
        self._claims = 0

    def settle(self, wanted: Sequence[Wanted]) -> list[Pin | None]:
        """See `Pins.settle`."""
        return [
            self.read([one.key], one.rollout, one.allocation, earlier=one.earlier)[0]
            if one.mine is None
            else self.claim(one.key, one.rollout, one.mine, ttl_seconds=one.ttl_seconds)
            for one in wanted
        ]

    def read(
        self,
        keys: Sequence[PinKey],
        rollout: str,
        allocation: int,
        *,
        earlier: Sequence[int] = (),
    ) -> list[Pin | None]:
        """See `Pins.read`."""
        with self._lock:
            self._reads += len(keys)
            return [self._first(key, rollout, (allocation, *earlier)) for key in keys]

    def claim(self, key: PinKey, rollout: str, pin: Pin, *, ttl_seconds: int) -> Pin:
        """See `Pins.claim`."""
        with self._lock:
            self._claims += 1
            pins = self._living(key)
            holds = pins.setdefault((rollout, pin.allocation), pin)
            ends = self._clock() + ttl_seconds
            self._units[key] = (max(ends, self._units.get(key, (ends, pins))[0]), pins)
            return holds

    def claim_many(
        self, claims: Sequence[tuple[PinKey, Pin]], rollout: str, *, ttl_seconds: int
    ) -> list[Pin]:
        """See `Pins.claim_many`."""
        return [self.claim(key, rollout, pin, ttl_seconds=ttl_seconds) for key, pin in claims]

    def impose(
        self, wanted: Sequence[tuple[PinKey, Pin]], rollout: str, *, ttl_seconds: int
    ) -> Sequence[PinKey]:
        """See `Pins.impose`."""
        with self._lock:
            for key, pin in wanted:
                pins = self._living(key)
                pins[rollout, pin.allocation] = pin
                ends = self._clock() + ttl_seconds
                self._units[key] = (max(ends, self._units.get(key, (ends, pins))[0]), pins)
        return ()

    def forget(self, keys: Sequence[PinKey]) -> None:
        """See `Pins.forget`."""
        with self._lock:
            for key in keys:
                self._units.pop(key, None)

    def drain(self, limit: int = 1000) -> int:
        """See `Pins.drain`; nothing ever waits here."""
        return 0

    def try_again(self) -> None:
        """See `Pins.try_again`; this store always answers."""

    def counts(self) -> PinCounts:
        """See `Pins.counts`."""
        with self._lock:
            return PinCounts(reads=self._reads, claims=self._claims)

    def _first(self, key: PinKey, rollout: str, allocations: Sequence[int]) -> Pin | None:
        pins = self._living(key)
        found = (pins.get((rollout, allocation)) for allocation in allocations)
        return next((pin for pin in found if pin is not None), None)

    def _living(self, key: PinKey) -> dict[tuple[str, int], Pin]:
        ends, pins = self._units.get(key, (0.0, {}))
        if pins and ends <= self._clock():
            del self._units[key]
            return {}
        return pins
