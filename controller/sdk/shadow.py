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
from dataclasses import replace
from typing import Generic, ParamSpec, TypeVar

from controller.assignment.choice import CHAMPION, Model, Reason
from controller.sdk.core import Core
from controller.sdk.engine import champion
from controller.sdk.journal import Journal

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


class Shadow(_Reports[R], Generic[P, R]):
    """Calls `champion` now and `challenger` in the background.

    The caller gets the champion's result (or its error) as if it had called the champion itself:
    the challenger never delays it, never fails it and never sees a changed argument later than the
    call, so pass arguments that nobody changes. When `most` challengers are still at work, or one
    takes longer than `timeout_seconds`, that prediction is skipped and counted.

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
        self._room = threading.BoundedSemaphore(self._most)

    def __call__(self, unit: str, ref: str, /, *arguments: P.args, **named: P.kwargs) -> R:
        """The champion's result for this unit; the challenger is asked on the side."""
        self._here()
        work: Callable[[], R] = lambda: self._challenger(*arguments, **named)  # noqa: E731
        self._ask(unit, ref, work)
        result = self._champion(*arguments, **named)
        self._report(unit, ref, result, arm=CHAMPION)
        return result

    def _ask(self, unit: str, ref: str, work: Callable[[], R]) -> None:
        """Start the challenger unless enough of them are at work."""
        if not self._room.acquire(blocking=False):
            self._journal.count("skipped")
            return
        try:
            threading.Thread(
                target=self._run, args=(unit, ref, work), name="controller-shadow", daemon=True
            ).start()
        except RuntimeError:  # no more threads, or the interpreter is ending
            self._room.release()
            self._journal.count("skipped")

    def _run(self, unit: str, ref: str, work: Callable[[], R]) -> None:
        started = time.monotonic()
        try:
            result = work()
            if time.monotonic() - started > self._timeout:
                self._journal.count("late")
            else:
                self._report(unit, f"{ref}/challenger", result, arm="challenger")
                self._journal.count("done")
        except Exception:  # noqa: BLE001 - the challenger's errors are its own: counted, not raised
            self._journal.count("failed")
        finally:
            self._room.release()


class AsyncShadow(_Reports[R], Generic[P, R]):
    """`Shadow` for coroutine functions; a challenger that takes too long is cancelled.

    Both are awaited in the loop of the caller, so a challenger that computes without awaiting
    holds the champion up as any coroutine would: give such a one to `Shadow`.

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
        if len(self._running) < self._most:
            task = asyncio.create_task(self._run(unit, ref, *arguments, **named))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        else:
            self._journal.count("skipped")
        result = await self._champion(*arguments, **named)
        self._report(unit, ref, result, arm=CHAMPION)
        return result

    async def _run(self, unit: str, ref: str, /, *arguments: P.args, **named: P.kwargs) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                result = await self._challenger(*arguments, **named)
        except TimeoutError:
            self._journal.count("late")
        except Exception:  # noqa: BLE001 - the challenger's errors are its own: counted, not raised
            self._journal.count("failed")
        else:
            self._report(unit, f"{ref}/challenger", result, arm="challenger")
            self._journal.count("done")
