"""How often a caller may ask: token buckets per key and address, a brake on guessing passwords.

Counts live in the process. A deployment of N web processes therefore allows up to N times the rate;
each process gets its share of the configured one, so that together they keep it.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Final

from controller.service.http.refusals import RateLimited

MOST_REMEMBERED: Final = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """So many requests a second on average, and so many at once."""

    per_second: float
    burst: float


HOT: Final = Rate(per_second=5_000, burst=10_000)
ADMIN: Final = Rate(per_second=200, burst=1_000)
CLIENT: Final = Rate(per_second=50, burst=200)
CLIENT_KEY: Final = Rate(per_second=1_000, burst=4_000)
PUBLIC: Final = Rate(per_second=200, burst=1_000)
FORM: Final = Rate(per_second=5, burst=60)


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class Buckets:
    """Token buckets by name. Safe to share between threads; forgets the longest unused."""

    def __init__(self, *, share: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._share = share
        self._clock = clock
        self._lock = Lock()
        self._buckets: OrderedDict[tuple[Rate, str], _Bucket] = OrderedDict()

    def take(self, name: str, rate: Rate, *, cost: float = 1.0) -> None:
        """Spend one token of `name`.

        Raises
        ------
        RateLimited
            If there is none; it says when there will be.
        """
        now = self._clock()
        per_second, burst = rate.per_second * self._share, max(1.0, rate.burst * self._share)
        with self._lock:
            bucket = self._buckets.setdefault((rate, name), _Bucket(burst, now))
            self._buckets.move_to_end((rate, name))
            bucket.left = min(burst, bucket.left + (now - bucket.at) * per_second)
            bucket.at = now
            if bucket.left >= cost:
                bucket.left -= cost
                if len(self._buckets) > MOST_REMEMBERED:
                    self._buckets.popitem(last=False)
                return
            wait = (cost - bucket.left) / per_second
        raise RateLimited(retry_after=max(1, math.ceil(wait)))


def caller_at(address: str | None) -> str:
    """Who a client's address stands for: itself, or the /64 that one line of IPv6 has.

    Whoever has one IPv6 address has as many as they like; they count as one.
    """
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return str(address)
    if found.version == 4:
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return f"{ipaddress.IPv6Address(int(found) >> 64 << 64)}/64"


@dataclass(slots=True)
class _Failures:
    count: int
    until: float


class SignInThrottle:
    """Wrong passwords cost time: after five for a name, or twenty from an address, a growing wait.

    The wait doubles from 2 s to 15 min. It delays the owner of a name too, never locks them out.
    """

    FREE: Final = 5
    FREE_ADDRESS: Final = 20
    LONGEST_SECONDS: Final = 900.0

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._failures: OrderedDict[str, _Failures] = OrderedDict()

    def check(self, name: str, address: str) -> None:
        """Refuse a try that comes too early.

        Raises
        ------
        RateLimited
            With the seconds to wait.
        """
        now = self._clock()
        with self._lock:
            until = max(
                (
                    self._failures[key].until
                    for key in _keys(name, address)
                    if key in self._failures
                ),
                default=0.0,
            )
        if until > now:
            wait = math.ceil(until - now)
            raise RateLimited(f"Too many wrong passwords; try again in {wait} s.", retry_after=wait)

    def failed(self, name: str, address: str) -> None:
        """Count a wrong password."""
        now = self._clock()
        with self._lock:
            for key, free in zip(_keys(name, address), (self.FREE, self.FREE_ADDRESS), strict=True):
                entry = self._failures.setdefault(key, _Failures(0, 0.0))
                self._failures.move_to_end(key)
                entry.count += 1
                if entry.count >= free:
                    wait = min(2.0 ** min(entry.count - free + 1, 16), self.LONGEST_SECONDS)
                    entry.until = now + wait
            while len(self._failures) > MOST_REMEMBERED:
                self._failures.popitem(last=False)

    def succeeded(self, name: str, address: str) -> None:
        """Forget the name's wrong passwords; the address keeps its own."""
        with self._lock:
            self._failures.pop(_keys(name, address)[0], None)


def _keys(name: str, address: str) -> tuple[str, str]:
    return f"name:{name[:64].casefold()}", f"address:{address}"
