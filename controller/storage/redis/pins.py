"""Pins in Redis or Valkey: one hash per unit, first writer wins, one round trip, bounded waits.

``pin:<project>:{<unit>}`` is a hash whose key's tag is the unit (the first 16 hex digits of its
keyed hash), so all pins of a unit live in one cluster slot and erasure is one DEL. A field is
``<rollout>.<allocation>``, its value ``<enrolment bucket>.<arm>``: a new allocation starts without
pins by its name alone. Claims are HSETNX + HGET + EXPIRE in one pipeline, no script.

A store that is down, slow, read-only or full never costs more than the client's time limits and
never an error: the caller's own pin stands, the claim waits in memory and is written later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from threading import Event, Lock, Thread
from typing import Any, Final

from redis.exceptions import RedisError

from controller.assignment.choice import Pin
from controller.assignment.hashing import keyed_hash
from controller.errors import Unavailable
from controller.flow.ports_pins import PinCounts, PinKey
from controller.storage.redis.breaker import Breaker
from controller.storage.redis.connection import Client

MOST_WAITING: Final = 10_000
_BATCH: Final = 200

_Waiting = tuple[PinKey, str, Pin, int]


class RedisPins:
    """The pins port over one client (see `connection.connect`).

    Parameters
    ----------
    drain_seconds : float or None
        While claims wait, a thread tries to write them this often; None leaves that to `drain`.
    """

    def __init__(
        self,
        client: Client,
        *,
        breaker: Breaker | None = None,
        drain_seconds: float | None = 1.0,
    ) -> None:
        self._client = client
        self._breaker = breaker or Breaker()
        self._drain_seconds = drain_seconds
        self._drainer: Thread | None = None
        self._closed = Event()
        self._lock = Lock()
        self._writing = Lock()  # held while waiting claims are written, and by erasure
        self._waiting: deque[_Waiting] = deque()
        self._counts = PinCounts()

    def read(
        self,
        keys: Sequence[PinKey],
        rollout: str,
        allocation: int,
        *,
        earlier: Sequence[int] = (),
    ) -> list[Pin | None]:
        """See `Pins.read`."""
        allocations = (allocation, *earlier)
        fields = [_field(rollout, number) for number in allocations]
        answers = self._ask([("HMGET", _key(key), *fields) for key in keys])
        self._count(reads=len(keys), skipped=0 if answers else len(keys))
        if answers is None:
            return [None] * len(keys)
        return [_first(answer, allocations) for answer in answers]

    def claim(self, key: PinKey, rollout: str, pin: Pin, *, ttl_seconds: int) -> Pin:
        """See `Pins.claim`."""
        (holds,) = self.claim_many([(key, pin)], rollout, ttl_seconds=ttl_seconds)
        return holds

    def claim_many(
        self, claims: Sequence[tuple[PinKey, Pin]], rollout: str, *, ttl_seconds: int
    ) -> list[Pin]:
        """See `Pins.claim_many`."""
        answers = self._ask(
            [command for key, pin in claims for command in _claim(key, rollout, pin, ttl_seconds)]
        )
        holds: list[Pin] = []
        skipped: list[_Waiting] = []
        for place, (key, pin) in enumerate(claims):
            answer = answers[place * _COMMANDS : (place + 1) * _COMMANDS] if answers else None
            if answer is None or isinstance(answer[0], RedisError):
                skipped.append((key, rollout, pin, ttl_seconds))
            found = _pin(answer[1], pin.allocation) if answer else None
            holds.append(found or pin)
        self._keep_waiting(skipped)
        self._count(claims=len(claims), skipped=len(skipped))
        return holds

    def impose(
        self, wanted: Sequence[tuple[PinKey, Pin]], rollout: str, *, ttl_seconds: int
    ) -> None:
        """See `Pins.impose`."""
        answers = self._ask(
            [
                command
                for key, pin in wanted
                for command in _writing("HSET", key, rollout, pin, ttl_seconds)
            ]
        )
        if answers is None or any(isinstance(answer, RedisError) for answer in answers):
            raise Unavailable("The pin store does not answer, so exceptions were not pinned.")

    def forget(self, keys: Sequence[PinKey]) -> None:
        """See `Pins.forget`."""
        with self._writing:
            with self._lock:
                erased = set(keys)
                self._waiting = deque(item for item in self._waiting if item[0] not in erased)
            answers = self._ask([("DEL", _key(key)) for key in keys])
        if answers is None or any(isinstance(answer, RedisError) for answer in answers):
            raise Unavailable("The pin store does not answer, so pins were not erased; try again.")

    def drain(self, limit: int = 1000) -> int:
        """See `Pins.drain`."""
        written = 0
        while written < limit:
            with self._writing:
                with self._lock:
                    batch = list(islice(self._waiting, min(_BATCH, limit - written)))
                done = self._write(batch)
                with self._lock:
                    self._waiting = deque(item for item in self._waiting if id(item) not in done)
            written += len(done)
            if not done or len(done) < len(batch):
                break
        self._count(written_later=written)
        return written

    def close(self) -> None:
        """Stop writing what waits."""
        self._closed.set()

    def _write(self, batch: Sequence[_Waiting]) -> set[int]:
        """The ids of the claims that were written."""
        answers = self._ask([command for item in batch for command in _claim(*item)])
        return {
            id(item)
            for place, item in enumerate(batch)
            if answers is not None and not isinstance(answers[place * _COMMANDS], RedisError)
        }

    def _keep_draining(self, seconds: float) -> None:
        while not self._closed.wait(seconds):
            self.drain(MOST_WAITING)
            with self._lock:
                if not self._waiting:
                    self._drainer = None
                    return

    def counts(self) -> PinCounts:
        """See `Pins.counts`."""
        with self._lock:
            return replace(self._counts, waiting=len(self._waiting), available=self._breaker.closed)

    def _ask(self, commands: Sequence[tuple[Any, ...]]) -> list[Any] | None:
        """Every answer of one pipeline (an error in its place), or None: no answer in time."""
        if not commands:
            return []
        if not self._breaker.allow():
            return None
        try:
            with self._client.pipeline(transaction=False) as pipeline:
                for command in commands:
                    pipeline.execute_command(*command)
                answers: list[Any] = pipeline.execute(raise_on_error=False)
        except (RedisError, OSError):
            self._breaker.failed()
            return None
        self._breaker.succeeded()
        return answers

    def _keep_waiting(self, items: Sequence[_Waiting]) -> None:
        with self._lock:
            self._waiting.extend(items)
            surplus = len(self._waiting) - MOST_WAITING
            for _ in range(surplus):
                self._waiting.popleft()
            start = self._drain_seconds is not None and items and self._drainer is None
            if start and not self._closed.is_set():
                self._drainer = Thread(
                    target=self._keep_draining,
                    args=(self._drain_seconds,),
                    name="pins-drain",
                    daemon=True,
                )
                self._drainer.start()
        if surplus > 0:
            self._count(lost=surplus)

    def _count(self, **more: int) -> None:
        with self._lock:
            changes = {name: getattr(self._counts, name) + number for name, number in more.items()}
            self._counts = replace(self._counts, **changes)


def _claim(key: PinKey, rollout: str, pin: Pin, ttl_seconds: int) -> list[tuple[Any, ...]]:
    """First writer wins, then who won."""
    return _writing("HSETNX", key, rollout, pin, ttl_seconds)


def _writing(
    command: str, key: PinKey, rollout: str, pin: Pin, ttl_seconds: int
) -> list[tuple[Any, ...]]:
    """Write a pin and read what holds; the unit's life is only ever lengthened."""
    name, field = _key(key), _field(rollout, pin.allocation)
    return [
        (command, name, field, f"{pin.bucket}.{pin.arm}"),
        ("HGET", name, field),
        ("EXPIRE", name, ttl_seconds, "NX"),
        ("EXPIRE", name, ttl_seconds, "GT"),
    ]


_COMMANDS: Final = 4


def _key(key: PinKey) -> str:
    return f"pin:{key.project}:{{{keyed_hash('pin', key.unit_type, key.unit)}}}"


def _field(rollout: str, allocation: int) -> str:
    return f"{rollout}.{allocation}"


def _first(answer: object, allocations: Sequence[int]) -> Pin | None:
    """The first pin among the stored values of several allocations."""
    values = answer if isinstance(answer, list) else []
    found = (_pin(value, number) for value, number in zip(values, allocations, strict=False))
    return next((pin for pin in found if pin is not None), None)


def _pin(answer: object, allocation: int) -> Pin | None:
    """The pin of a stored value; None for nothing, an error, or what is not a pin."""
    if not isinstance(answer, bytes):
        return None
    bucket, _, arm = answer.decode("utf-8", "replace").partition(".")
    if not (bucket.isascii() and bucket.isdigit() and arm):
        return None
    return Pin(allocation=allocation, arm=arm, bucket=int(bucket))
