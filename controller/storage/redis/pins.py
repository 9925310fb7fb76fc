"""Pins in Redis or Valkey: one hash per unit, first writer wins, one round trip, bounded waits.

``pin:<namespace>:<project>:{<unit>}`` is a hash whose key's tag is the unit (64 bits of its
keyed hash, in base64), so all pins of a unit live in one cluster slot and erasure is one DEL. In
project `default` a key has 30 characters: one more, and Redis takes 16 bytes more a unit. The
namespace is the deployment's. A field is ``<rollout>.<allocation>``, its value
``<enrolment bucket>.<arm>``: a new allocation starts without pins by its name alone. Claims are
HSETNX + HGET + EXPIRE in one pipeline, no script.

A store that is down, slow, read-only or full never costs more than the client's time limits and
never an error: the caller's own pin stands, the claim waits in memory and is written later.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from itertools import islice
from threading import Event, Lock, Thread
from time import perf_counter, thread_time
from typing import Any, Final

from redis.exceptions import RedisError

from controller.assignment.choice import Pin
from controller.assignment.hashing import PPM, keyed_hash
from controller.errors import Unavailable
from controller.flow.ports_pins import PinCounts, PinKey, Wanted
from controller.storage.redis.breaker import Breaker
from controller.storage.redis.connection import NO_ANSWER, Client

MOST_WAITING: Final = 10_000
MOST_DIGITS: Final = len(str(PPM))
_BATCH: Final = 200
_TOGETHER: Final = 250
"""Commands of one round trip: about what a server reads at once, so its answer comes at once."""

_Waiting = tuple[PinKey, str, Pin, int]


class RedisPins:
    """The pins port over one client (see `connection.connect`).

    Parameters
    ----------
    namespace : str
        The deployment's own (`Settings.redis_namespace`).
    drain_seconds : float or None
        While claims wait, a thread tries to write them this often; None leaves that to `drain`.
    budget_seconds : float or None
        How long the units of one `settle` may wait together for the store before the others go
        without it; one round trip may begin just before. None is as long as it answers.
    """

    def __init__(
        self,
        client: Client,
        *,
        namespace: str,
        breaker: Breaker | None = None,
        drain_seconds: float | None = 1.0,
        budget_seconds: float | None = None,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._breaker = breaker or Breaker()
        self._drain_seconds = drain_seconds
        self._budget = budget_seconds
        self._drainer: Thread | None = None
        self._closed = Event()
        self._lock = Lock()
        self._writing = Lock()  # held while waiting claims are written, and by erasure
        self._waiting: deque[_Waiting] = deque()
        self._counted: dict[str, int] = defaultdict(int)

    def settle(self, wanted: Sequence[Wanted]) -> list[Pin | None]:
        """See `Pins.settle`."""
        holds: list[Pin | None] = []
        waited, is_away = 0.0, False
        for part in _trips(wanted):
            if is_away or (self._budget is not None and waited > self._budget):
                holds += self._held(part, None)
                continue
            begun = perf_counter() - thread_time()
            answers = self._ask([command for one in part for command in self._commands(one)])
            waited += perf_counter() - thread_time() - begun
            is_away = answers is None
            holds += self._held(part, answers)
        return holds

    def _held(self, wanted: Sequence[Wanted], answers: list[Any] | None) -> list[Pin | None]:
        """What the answers of one round trip say; without any, what each would claim."""
        holds: list[Pin | None] = []
        skipped: list[_Waiting] = []
        place = 0
        for one in wanted:
            if one.mine is None:
                said = None if answers is None else answers[place]
                holds.append(_first(said, (one.allocation, *one.earlier)))
                place += 1
                continue
            claimed = [] if answers is None else answers[place : place + _COMMANDS]
            if not claimed or isinstance(claimed[0], RedisError):
                skipped.append((one.key, one.rollout, one.mine, one.ttl_seconds))
            holds.append((_pin(claimed[1], one.allocation) if claimed else None) or one.mine)
            place += _COMMANDS
        if skipped:
            self._keep_waiting(skipped)
        claims = sum(one.mine is not None for one in wanted)
        reads = len(wanted) - claims
        self._count(
            reads=reads, claims=claims, skipped=len(skipped) + (reads if answers is None else 0)
        )
        return holds

    def _commands(self, one: Wanted) -> list[tuple[Any, ...]]:
        name = self._key(one.key)
        if one.mine is not None:
            return _claim(name, one.rollout, one.mine, one.ttl_seconds)
        fields = [_field(one.rollout, number) for number in (one.allocation, *one.earlier)]
        return [("HMGET", name, *fields)]

    def read(
        self,
        keys: Sequence[PinKey],
        rollout: str,
        allocation: int,
        *,
        earlier: Sequence[int] = (),
    ) -> list[Pin | None]:
        """See `Pins.read`."""
        return self.settle(
            [
                Wanted(key=key, rollout=rollout, allocation=allocation, earlier=earlier)
                for key in keys
            ]
        )

    def claim(self, key: PinKey, rollout: str, pin: Pin, *, ttl_seconds: int) -> Pin:
        """See `Pins.claim`."""
        (holds,) = self.claim_many([(key, pin)], rollout, ttl_seconds=ttl_seconds)
        return holds

    def claim_many(
        self, claims: Sequence[tuple[PinKey, Pin]], rollout: str, *, ttl_seconds: int
    ) -> list[Pin]:
        """See `Pins.claim_many`."""
        wanted = [
            Wanted(
                key=key,
                rollout=rollout,
                allocation=pin.allocation,
                mine=pin,
                ttl_seconds=ttl_seconds,
            )
            for key, pin in claims
        ]
        return [pin for pin in self.settle(wanted) if pin is not None]

    def impose(
        self, wanted: Sequence[tuple[PinKey, Pin]], rollout: str, *, ttl_seconds: int
    ) -> Sequence[PinKey]:
        """See `Pins.impose`."""
        refused, works = self._imposed(wanted, rollout, ttl_seconds)
        if refused and works:
            refused, _ = self._imposed(refused, rollout, ttl_seconds)
        if refused and not works:
            raise Unavailable("The pin store does not answer, so exceptions were not pinned.")
        return [key for key, _ in refused]

    def _imposed(
        self, wanted: Sequence[tuple[PinKey, Pin]], rollout: str, ttl_seconds: int
    ) -> tuple[Sequence[tuple[PinKey, Pin]], bool]:
        """Write pins in one round trip: what was refused, and whether the store works at all."""
        answers = self._ask(
            [
                command
                for key, pin in wanted
                for command in _writing("HSET", self._key(key), rollout, pin, ttl_seconds)
            ]
        )
        if answers is None:
            return wanted, False
        refused = [
            one
            for place, one in enumerate(wanted)
            if any(map(_is_error, answers[place * _COMMANDS : (place + 1) * _COMMANDS]))
        ]
        works = len(refused) < len(wanted) or any(map(_about_its_key, answers))
        return refused, works

    def forget(self, keys: Sequence[PinKey]) -> None:
        """See `Pins.forget`."""
        with self._writing:
            with self._lock:
                erased = set(keys)
                self._waiting = deque(item for item in self._waiting if item[0] not in erased)
            answers = self._ask([("DEL", self._key(key)) for key in keys])
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
        answers = self._ask(
            [
                command
                for key, rollout, pin, ttl_seconds in batch
                for command in _claim(self._key(key), rollout, pin, ttl_seconds)
            ]
        )
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

    def try_again(self) -> None:
        """See `Pins.try_again`."""
        if not self._breaker.closed:
            self._ask([("EXISTS", f"pin:{self._namespace}")])

    def counts(self) -> PinCounts:
        """See `Pins.counts`."""
        with self._lock:
            return PinCounts(
                **self._counted, waiting=len(self._waiting), available=self._breaker.closed
            )

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
        except NO_ANSWER:
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

    def _key(self, key: PinKey) -> str:
        hashed = bytes.fromhex(keyed_hash("pin", key.unit_type, key.unit))
        unit = urlsafe_b64encode(hashed)[:11].decode()  # 11 characters hold all 64 bits
        return f"pin:{self._namespace}:{key.project}:{{{unit}}}"

    def _count(self, **more: int) -> None:
        with self._lock:
            for name, number in more.items():
                self._counted[name] += number


def _trips(wanted: Sequence[Wanted]) -> Iterator[Sequence[Wanted]]:
    """Those that go together, in order."""
    part: list[Wanted] = []
    commands = 0
    for one in wanted:
        part.append(one)
        commands += 1 if one.mine is None else _COMMANDS
        if commands >= _TOGETHER:
            yield part
            part, commands = [], 0
    if part:
        yield part


def _claim(name: str, rollout: str, pin: Pin, ttl_seconds: int) -> list[tuple[Any, ...]]:
    """First writer wins, then who won."""
    return _writing("HSETNX", name, rollout, pin, ttl_seconds)


def _writing(
    command: str, name: str, rollout: str, pin: Pin, ttl_seconds: int
) -> list[tuple[Any, ...]]:
    """Write a pin and read what holds; the unit's life is only ever lengthened."""
    field = _field(rollout, pin.allocation)
    return [
        (command, name, field, f"{pin.bucket}.{pin.arm}"),
        ("HGET", name, field),
        ("EXPIRE", name, ttl_seconds, "NX"),
        ("EXPIRE", name, ttl_seconds, "GT"),
    ]


_COMMANDS: Final = 4


def _is_error(answer: object) -> bool:
    return isinstance(answer, RedisError)


def _about_its_key(answer: object) -> bool:
    """Whether an error says that something else stands in the key's place."""
    return isinstance(answer, RedisError) and str(answer).startswith("WRONGTYPE")


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
    if not (bucket.isascii() and bucket.isdigit() and len(bucket) <= MOST_DIGITS and arm):
        return None
    return Pin(allocation=allocation, arm=arm, bucket=int(bucket))
