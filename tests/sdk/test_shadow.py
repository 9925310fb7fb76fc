from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from controller.assignment.choice import Model
from controller.sdk.shadow import MOST_LATE, AsyncShadow, Shadow
from controller.sdk.testing import RecordingAsyncClient, RecordingClient
from tests.loops import run_apart
from tests.sdk.service import wait_for

MODEL = Model(name="boost", version="2")
CHAMPION = Model(name="logistic", version="1")


@pytest.fixture
def client() -> RecordingClient:
    return RecordingClient({"alert": "champion"}, {"alert": {"champion": CHAMPION}})


def test_the_champion_answers_and_both_are_reported(client: RecordingClient) -> None:
    shadow = Shadow(
        client, "alert", model=MODEL, score=lambda value: value,
        champion=lambda x: x + 0.1, challenger=lambda x: x + 0.2,
    )  # fmt: skip
    assert shadow("4711", "a-1", 1.0) == 1.1
    assert wait_for(lambda: shadow.counts() == {"done": 1})
    predictions = {event["arm"]: event for event in client.events}
    assert (predictions["champion"]["ref"], predictions["champion"]["score"]) == ("a-1", 1.1)
    assert predictions["champion"]["model"] == "logistic@1"
    challenger = predictions["challenger"]
    assert (challenger["ref"], challenger["score"], challenger["model"]) == (
        "a-1/challenger",
        1.2,
        "boost@2",
    )
    assert {event["type"] for event in client.events} == {"prediction"}


def test_a_slow_challenger_never_delays_the_answer_and_counts_as_late(
    client: RecordingClient,
) -> None:
    may_end = threading.Event()

    def late() -> str:
        may_end.wait(60)
        return "late"

    shadow = Shadow(
        client, "alert", model=MODEL, timeout_seconds=0.05,
        champion=lambda: "now", challenger=late,
    )  # fmt: skip
    assert shadow("1", "a") == "now", "and the challenger has not ended"
    time.sleep(0.1)  # longer than it may take
    may_end.set()
    assert wait_for(lambda: shadow.counts() == {"late": 1})
    assert [event["arm"] for event in client.events] == ["champion"]


def test_a_failing_challenger_or_score_costs_nothing_else(client: RecordingClient) -> None:
    def fail() -> float:
        raise RuntimeError("no weather")

    shadow = Shadow(client, "alert", model=MODEL, champion=lambda: 1.0, challenger=fail)
    assert shadow("1", "a") == 1.0
    assert wait_for(lambda: shadow.counts() == {"failed": 1})
    unscored = Shadow(
        client, "alert", model=MODEL, champion=lambda: 1.0, challenger=lambda: 2.0,
        score=lambda value: value / 0,
    )  # fmt: skip
    assert unscored("1", "b") == 1.0
    assert wait_for(lambda: unscored.counts() == {"done": 1, "scores_failed": 2})


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_challenger_that_leaves_altogether_gives_up_its_place(
    error: type[BaseException], client: RecordingClient
) -> None:
    def leave() -> float:
        raise error

    shadow = Shadow(client, "alert", model=MODEL, most=1, champion=lambda: 1.0, challenger=leave)
    for number in range(3):
        assert shadow(str(number), "a") == 1.0
        assert wait_for(lambda: not shadow.at_work)
    assert shadow.counts() == {"failed": 3}


def test_the_champions_error_is_the_callers(client: RecordingClient) -> None:
    def fail() -> float:
        raise LookupError("no model")

    shadow = Shadow(client, "alert", model=MODEL, champion=fail, challenger=lambda: 2.0)
    with pytest.raises(LookupError, match="no model"):
        shadow("1", "a")


def test_at_most_so_many_challengers_work_at_once(client: RecordingClient) -> None:
    gate = threading.Event()
    running = [0]

    def wait() -> int:
        running[0] += 1
        gate.wait(60)
        return 0

    shadow = Shadow(
        client, "alert", model=MODEL, most=3, timeout_seconds=600.0,
        champion=lambda: 0, challenger=wait,
    )  # fmt: skip
    for number in range(20):
        assert shadow("1", f"a-{number}") == 0
    assert running[0] <= 3
    assert shadow.counts()["skipped"] == 17
    gate.set()
    assert wait_for(lambda: shadow.counts().get("done") == 3)
    assert shadow("1", "later") == 0
    assert wait_for(lambda: shadow.counts().get("done") == 4)


def test_the_challenger_starts_when_the_champion_has_answered(client: RecordingClient) -> None:
    order: list[str] = []
    began = threading.Event()

    def champion() -> int:
        began.wait(0.2)  # room for a challenger that does not wait for its turn
        order.append("champion")
        return 1

    def challenger() -> int:
        began.set()
        order.append("challenger")
        return 2

    shadow = Shadow(client, "alert", model=MODEL, champion=champion, challenger=challenger)
    assert shadow("1", "a") == 1
    assert wait_for(lambda: shadow.counts() == {"done": 1})
    assert order == ["champion", "challenger"]


def test_a_challenger_that_hangs_is_late_and_makes_room_up_to_a_bound(
    client: RecordingClient,
) -> None:
    gate = threading.Event()

    def hang() -> int:
        gate.wait(60)
        return 0

    shadow = Shadow(
        client, "alert", model=MODEL, most=1, timeout_seconds=0.0,
        champion=lambda: 0, challenger=hang,
    )  # fmt: skip
    for number in range(MOST_LATE + 5):
        assert shadow("1", f"a-{number}") == 0
    assert shadow.counts() == {"late": MOST_LATE, "skipped": 5}
    gate.set()
    assert wait_for(lambda: not shadow.at_work)
    assert shadow.counts() == {"late": MOST_LATE, "skipped": 5}, "counted once each"


def test_a_forked_child_has_room_of_its_own(client: RecordingClient) -> None:
    gate = threading.Event()

    def wait() -> int:
        gate.wait(10)
        return 0

    shadow = Shadow(client, "alert", model=MODEL, most=1, champion=lambda: 0, challenger=wait)
    shadow("1", "a")
    child = os.fork()
    if child == 0:
        gate.set()
        shadow("1", "b")
        os._exit(0 if wait_for(lambda: shadow.counts() == {"done": 1}) else 1)
    assert os.waitpid(child, 0)[1] == 0
    gate.set()
    assert wait_for(lambda: shadow.counts() == {"done": 1})


# ---------------------------------------------------------------- coroutines


def asking(
    challenger: Callable[[float], Awaitable[float]], **options: Any
) -> tuple[RecordingAsyncClient, AsyncShadow[[float], float]]:
    client = RecordingAsyncClient({"alert": "champion"}, {"alert": {"champion": CHAMPION}})

    async def champion(x: float) -> float:
        return x + 0.1

    return client, AsyncShadow(
        client, "alert", model=MODEL, score=lambda value: value,
        champion=champion, challenger=challenger, **options,
    )  # fmt: skip


def test_coroutines_are_asked_in_their_loop_and_both_reported() -> None:
    async def challenger(x: float) -> float:
        await asyncio.sleep(0.01)
        return x + 0.2

    client, shadow = asking(challenger)

    async def story() -> None:
        assert await shadow("4711", "a-1", 1.0) == 1.1
        await asyncio.sleep(0.05)

    run_apart(story())
    assert shadow.counts() == {"done": 1}
    assert [(e["arm"], e["ref"], e["score"], e["model"]) for e in client.events] == [
        ("champion", "a-1", 1.1, "logistic@1"),
        ("challenger", "a-1/challenger", 1.2, "boost@2"),
    ]


def test_a_late_coroutine_is_cancelled_and_a_failing_one_is_counted() -> None:
    cancelled: list[bool] = []

    async def challenger(x: float) -> float:
        if x < 0:
            raise RuntimeError("no weather")
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        return x

    client, shadow = asking(challenger, timeout_seconds=0.5, most=2)

    async def story() -> None:
        assert await shadow("1", "a", 1.0) == 1.1
        assert await shadow("1", "b", -1.0) == -0.9
        assert await shadow("1", "c", 1.0) == 1.1
        assert cancelled == [], "nobody waited for the challenger"
        async with asyncio.timeout(60):
            while not cancelled:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)

    run_apart(story())
    assert cancelled == [True]
    assert shadow.counts() == {"late": 1, "failed": 1, "skipped": 1}
    assert [event["arm"] for event in client.events] == ["champion"] * 3


def test_a_coroutine_that_exits_does_not_end_the_loop() -> None:
    async def leave(x: float) -> float:
        raise SystemExit

    _, shadow = asking(leave, most=1)

    async def story() -> None:
        for _ in range(3):
            assert await shadow("1", "a", 1.0) == 1.1
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    run_apart(story())
    assert shadow.counts() == {"failed": 3}


def test_the_champions_coroutine_error_is_the_callers() -> None:
    async def fail(x: float) -> float:
        raise LookupError("no model")

    client, _ = asking(fail)
    shadow = AsyncShadow(client, "alert", model=MODEL, champion=fail, challenger=fail)

    async def story() -> None:
        with pytest.raises(LookupError, match="no model"):
            await shadow("1", "a", 1.0)
        await asyncio.sleep(0)

    run_apart(story())
    assert shadow.counts() == {}, "the challenger was never asked"
