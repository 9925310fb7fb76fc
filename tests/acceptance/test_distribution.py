"""How a change reaches SDKs, part by part: notes to a crowd, a killed stream, a store that hangs.

How fast is measured by `tests/benchmarks/bench_distribution.py`; here nothing is timed.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from controller.cli.client import ServiceClient
from tests.crowd import Crowd
from tests.loops import run_apart
from tests.processes import wait_until
from tests.running import Running, running

STREAMS = 200
SLOT = {"unit": "departure", "champion": {"name": "m", "version": "1"}, "observe": 0.0}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("up") / "data", "--web-workers", "2") as started:
        started.with_key("admin").call("PUT", "/v1/slots/alerts", body=SLOT)
        yield started


@pytest.fixture
def up(service: Running) -> Iterator[Running]:
    """With a slot that is killed by the test, and lifted for the next one."""
    yield service
    lift(service)


def kill(up: Running) -> None:
    up.with_key("admin").call("POST", "/v1/slots/alerts/kill")


def lift(up: Running) -> None:
    up.as_operator().call("DELETE", "/v1/slots/alerts/kill")


def version(up: Running) -> int:
    answer = up.call("GET", "/v1/ruleset", up.sdk_key)
    return int(answer.headers["controller-ruleset-version"])


async def told(crowd: Crowd, wanted: int) -> None:
    """Until everybody has heard of a version."""
    async with asyncio.timeout(60):
        while any(wanted not in member.versions for member in crowd.members):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def test_all_streams_are_told_once_and_come_back_after_kill_9(up: Running) -> None:
    async def story() -> None:
        crowd = Crowd(up.url, up.sdk_key, STREAMS)
        async with crowd.gathered(spread_seconds=0.5):
            await crowd.all_open(60)
            await asyncio.to_thread(kill, up)
            killed = await asyncio.to_thread(version, up)
            await told(crowd, killed)
            os.kill(up.children()["stream"], signal.SIGKILL)
            async with asyncio.timeout(60):
                while crowd.open:  # noqa: ASYNC110 - the kernel closes them
                    await asyncio.sleep(0.01)
            await asyncio.to_thread(lift, up)  # nobody listens: fetched when the stream is back
            await crowd.all_open(60)
            lifted = await asyncio.to_thread(version, up)
            async with asyncio.timeout(60):
                while any(member.fetched < lifted for member in crowd.members):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            await asyncio.to_thread(kill, up)
            again = await asyncio.to_thread(version, up)
            await told(crowd, again)
            for member in crowd.members:
                assert member.versions in ([killed, again], [killed, lifted, again])
                assert member.tickets >= 2, "a ticket opens one stream"
                assert len(member.opened_at) >= 2
        assert not crowd.refused

    run_apart(story())


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process that holds its connections and answers nobody."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def reasons(client: ServiceClient, questions: int = 20) -> set[str]:
    """What the web processes answer, on a connection of its own each time."""
    asked = {"slot": "alerts", "unit": "u", "expose": False}
    answers: list[Any] = [client.call("POST", "/v1/assign", body=asked) for _ in range(questions)]
    return {answer["reason"] for answer, _ in answers}


def test_a_kill_holds_in_every_web_process_while_redis_hangs_and_is_told_after(up: Running) -> None:
    async def story() -> None:
        sdk = up.with_key("sdk")
        crowd = Crowd(up.url, up.sdk_key, 5)
        async with crowd.gathered():
            await crowd.all_open(60)
            at_rest = lambda: reasons(sdk) == {"NO_ROLLOUT"}  # noqa: E731
            await asyncio.to_thread(wait_until, at_rest, "every web process serves it")
            with stopped(up.children()["valkey"]):
                await asyncio.to_thread(kill, up)
                everywhere = lambda: reasons(sdk) == {"KILLED"}  # noqa: E731
                await asyncio.to_thread(wait_until, everywhere, "SQL says so")
                killed = await asyncio.to_thread(version, up)
                assert not any(killed in member.versions for member in crowd.members)
            await told(crowd, killed)  # the outbox kept the message

    run_apart(story())
