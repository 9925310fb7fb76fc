"""Shadow: the champion answers, the challenger is asked beside it, both are reported.

`Shadow` is for plain functions and asks the challenger in a thread; `AsyncShadow` is for coroutine
functions and asks it in a task of the same loop.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, Generic, ParamSpec, TypeVar

from controller.assignment.choice import CHAMPION, Model, Reason
from controller.sdk.core import Core
from controller.sdk.engine import champion
from controller.sdk.journal import Journal

MOST_LATE: Final = 32
_THREAD: Final = "controller-shadow"

P = ParamSpec("P")
R = TypeVar("R")


class _Reports(Generic[R]):
    """What both kinds count and report."""

    def __init__(
        self, client: Core, slot: str, model: Model, score: Callable[[R], float | None]
    ) -> None:
        self._client = client
        self._slot = slot
        self._model = model
        self._score = score
        self._begin()

    def _begin(self) -> None:
        """Everything that belongs to one process."""
        self._process = os.getpid()
        self._journal = Journal()

    def _here(self) -> None:
        """In a forked child: the parent's challengers are not at work here."""
        if self._process != os.getpid():
            self._begin()

    def counts(self) -> dict[str, int]:
        """How many challengers were `done`, `late`, `failed` or `skipped`."""
        return self._journal.counts()

    def _report(self, unit: str, ref: str, result: R, *, arm: str) -> None:
        """Report one prediction; a `score` that fails costs the number, not the answer."""
        try:
            score = self._score(result)
        except Exception:  # noqa: BLE001 - the door: the application's own function
            self._journal.count("scores_failed")
            score = None
        client = self._client
        model = client.champion(self._slot) if arm == CHAMPION else self._model
        choice = champion(self._slot, model, Reason.NO_ROLLOUT, client.ruleset_version)
        client.record(replace(choice, arm=arm), unit=unit, ref=ref, score=score)


@dataclass(eq=False, slots=True)
class _Asked:
    """One challenger at work; no longer waited for once it is late."""

    deadline: float
    late: bool = False


class Shadow(_Reports[R], Generic[P, R]):
    """Calls `champion` now and `challenger` in the background.

    The caller gets the champion's result (or its error) as if it had called the champion itself:
    the challenger starts when the champion has answered and never fails it. It may read its
    arguments later than the call returns, so pass arguments that nobody changes. While `most`
    challengers are at work, further ones are skipped and counted. One that takes longer than
    `timeout_seconds` counts as late and makes room; its thread cannot be stopped, so while
    `MOST_LATE` of those still run, further ones are skipped too. Challengers that compute share
    the interpreter with the application, as its other threads do: lower `most` where that matters.

    Parameters
    ----------
    client : Client
        Where both predictions are reported, under ``ref`` and ``ref/challenger``.
    slot : str
    champion, challenger : callable
        The same arguments; `score` turns a result into the reported number.
    model : Model
        What the challenger is, as it is reported.
    """

    def __init__(
        self,
        client: Core,
        slot: str,
        *,
        champion: Callable[P, R],
        challenger: Callable[P, R],
        model: Model,
        score: Callable[[R], float | None] = lambda _: None,
        timeout_seconds: float = 1.0,
        most: int = 4,
    ) -> None:
        self._champion = champion
        self._challenger = challenger
        self._timeout = timeout_seconds
        self._most = most
        super().__init__(client, slot, model, score)

    def _begin(self) -> None:
        super()._begin()
        self._lock = threading.Lock()
        self._at_work: set[_Asked] = set()

    def __call__(self, unit: str, ref: str, /, *arguments: P.args, **named: P.kwargs) -> R:
        """The champion's result for this unit; the challenger is asked on the side."""
        self._here()
        result = self._champion(*arguments, **named)
        self._report(unit, ref, result, arm=CHAMPION)
        self._ask(unit, ref, lambda: self._challenger(*arguments, **named))
        return result

    def counts(self) -> dict[str, int]:
        """How many challengers were `done`, `late`, `failed` or `skipped`."""
        with self._lock:
            self._give_up_late()
        return super().counts()

    @property
    def at_work(self) -> int:
        """How many challengers have not ended, the late ones among them."""
        with self._lock:
            return len(self._at_work)

    def _ask(self, unit: str, ref: str, work: Callable[[], R]) -> None:
        """Start the challenger unless enough of them are at work."""
        asked = self._room()
        if asked is None:
            self._journal.count("skipped")
            return
        try:
            threading.Thread(
                target=self._run, args=(asked, unit, ref, work), name=_THREAD, daemon=True
            ).start()
        except RuntimeError:  # no more threads, or the interpreter is ending
            with self._lock:
                self._at_work.discard(asked)
            self._journal.count("skipped")

    def _room(self) -> _Asked | None:
        with self._lock:
            self._give_up_late()
            late = sum(asked.late for asked in self._at_work)
            if late >= MOST_LATE or len(self._at_work) - late >= self._most:
                return None
            asked = _Asked(deadline=time.monotonic() + self._timeout)
            self._at_work.add(asked)
            return asked

    def _give_up_late(self) -> None:
        """Count who is past its deadline, once. Hold the lock."""
        now = time.monotonic()
        for asked in self._at_work:
            if not asked.late and now >= asked.deadline:
                asked.late = True
                self._journal.count("late")

    def _run(self, asked: _Asked, unit: str, ref: str, work: Callable[[], R]) -> None:
        try:
            result = work()
        except BaseException:  # noqa: BLE001 - its own: SystemExit and gevent.Timeout as well
            if self._in_time(asked):
                self._journal.count("failed")
            return
        if self._in_time(asked):
            self._report(unit, f"{ref}/challenger", result, arm="challenger")
            self._journal.count("done")

    def _in_time(self, asked: _Asked) -> bool:
        """Take it off the list; whether it was still waited for."""
        with self._lock:
            self._give_up_late()
            self._at_work.discard(asked)
        return not asked.late


class AsyncShadow(_Reports[R], Generic[P, R]):
    """`Shadow` for coroutine functions; a challenger that takes too long is cancelled.

    Both are awaited in the loop of the caller, the challenger after the champion has answered. One
    that computes without awaiting holds up the loop as any coroutine would: give it to `Shadow`.

    Parameters
    ----------
    client, slot, champion, challenger, model, score, timeout_seconds, most
        As for `Shadow`; `champion` and `challenger` are coroutine functions.
    """

    def __init__(
        self,
        client: Core,
        slot: str,
        *,
        champion: Callable[P, Awaitable[R]],
        challenger: Callable[P, Awaitable[R]],
        model: Model,
        score: Callable[[R], float | None] = lambda _: None,
        timeout_seconds: float = 1.0,
        most: int = 4,
    ) -> None:
        self._champion = champion
        self._challenger = challenger
        self._timeout = timeout_seconds
        self._most = most
        super().__init__(client, slot, model, score)

    def _begin(self) -> None:
        super()._begin()
        self._running: set[asyncio.Task[None]] = set()  # a loop holds its tasks weakly

    async def __call__(self, unit: str, ref: str, /, *arguments: P.args, **named: P.kwargs) -> R:
        """The champion's result for this unit; the challenger is asked on the side."""
        self._here()
        result = await self._champion(*arguments, **named)
        self._report(unit, ref, result, arm=CHAMPION)
        if len(self._running) < self._most:
            task = asyncio.create_task(self._run(unit, ref, *arguments, **named))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        else:
            self._journal.count("skipped")
        return result

    async def _run(self, unit: str, ref: str, /, *arguments: P.args, **named: P.kwargs) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                result = await self._challenger(*arguments, **named)
        except TimeoutError:
            self._journal.count("late")
        except (Exception, SystemExit):  # noqa: BLE001 - its own: it ends no loop of the caller's
            self._journal.count("failed")
        else:
            self._report(unit, f"{ref}/challenger", result, arm="challenger")
            self._journal.count("done")
