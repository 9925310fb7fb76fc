"""Token buckets and the brake on guessing, on a clock that stands still until told."""

from __future__ import annotations

import pytest

from controller.service.http.limits import Buckets, Rate, SignInThrottle, caller_at
from controller.service.http.refusals import RateLimited


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


RATE = Rate(per_second=2.0, burst=4)


def spend(buckets: Buckets, name: str, times: int) -> int:
    """How many of so many tries are served."""
    served = 0
    for _ in range(times):
        try:
            buckets.take(name, RATE)
        except RateLimited:
            continue
        served += 1
    return served


def test_a_burst_is_served_and_then_the_rate_holds() -> None:
    clock = Clock()
    buckets = Buckets(clock=clock)
    assert spend(buckets, "a", 10) == 4
    clock.now += 3
    assert spend(buckets, "a", 10) == 4, "an idle caller gets a burst again, not more"
    clock.now += 1
    assert spend(buckets, "a", 10) == 2


def test_callers_do_not_share_a_bucket() -> None:
    buckets = Buckets(clock=Clock())
    assert spend(buckets, "a", 10) == 4
    assert spend(buckets, "b", 10) == 4


def test_a_process_serves_its_share() -> None:
    assert spend(Buckets(share=0.5, clock=Clock()), "a", 10) == 2


def test_the_refusal_says_when_to_return() -> None:
    clock = Clock()
    buckets = Buckets(clock=clock)
    spend(buckets, "a", 4)
    with pytest.raises(RateLimited) as refused:
        buckets.take("a", RATE)
    assert refused.value.retry_after == 1
    clock.now += refused.value.retry_after
    buckets.take("a", RATE)


@pytest.mark.parametrize(
    ("address", "stands_for"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:0:7:1:2:3:4", "2001:db8:0:7::/64"),
        ("2001:0db8::1", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        (None, "None"),
        ("unix:", "unix:"),
    ],
)
def test_an_address_stands_for_whoever_has_it(address: str | None, stands_for: str) -> None:
    assert caller_at(address) == stands_for


def test_memory_is_bounded() -> None:
    buckets = Buckets(clock=Clock())
    for number in range(25_000):
        buckets.take(str(number), RATE)
    assert len(buckets._buckets) <= 20_000


def tries_allowed(seconds: int, *, name: str | None = "mary") -> int:
    """Wrong passwords somebody gets through in so long, trying every second."""
    clock = Clock()
    throttle = SignInThrottle(clock=clock)
    allowed = 0
    for second in range(seconds):
        who = name or f"name-{second}"
        try:
            throttle.check(who, "10.0.0.1")
        except RateLimited:
            pass
        else:
            allowed += 1
            throttle.failed(who, "10.0.0.1")
        clock.now += 1
    return allowed


def test_a_day_of_guessing_one_name_gets_few_tries() -> None:
    assert tries_allowed(3600) <= 20
    assert tries_allowed(86_400) <= 120


def test_trying_many_names_from_one_address_is_slowed_too() -> None:
    assert tries_allowed(3600, name=None) <= 35


def test_the_right_password_clears_the_name() -> None:
    clock = Clock()
    throttle = SignInThrottle(clock=clock)
    for _ in range(4):
        throttle.failed("mary", "10.0.0.1")
    throttle.succeeded("mary", "10.0.0.1")
    throttle.failed("mary", "10.0.0.1")
    throttle.check("mary", "10.0.0.1")


def test_the_wait_never_exceeds_a_quarter_of_an_hour() -> None:
    clock = Clock()
    throttle = SignInThrottle(clock=clock)
    for _ in range(200):
        throttle.failed("mary", "10.0.0.1")
    clock.now += 901
    throttle.check("mary", "10.0.0.1")
