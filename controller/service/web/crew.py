"""The threads that serve: one queue, and a place to wait for a connection's next request.

A thread that has answered may keep its connection: it waits for the next request itself, so that
neither the main loop nor another thread is woken for it. That costs nothing while other threads are
free. As soon as something waits for a thread, one of those that only wait is called back.
"""

from __future__ import annotations

import logging
import os
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

log = logging.getLogger(__name__)

KEPT_MILLISECONDS: Final = 1000


class Crew:
    """Up to `most` threads that call `serve` with what `add` is given. Make it after a fork."""

    def __init__(self, most: int, serve: Callable[[Any], None]) -> None:
        self._most = most
        self._serve = serve
        self._work = threading.Condition()  # re-entrant: `shutdown` runs in signal handlers too
        self._queue: deque[Any] = deque()
        self._idle = 0
        self._coming = 0  # threads that were told of work and have not taken any yet
        self._threads: list[threading.Thread] = []
        self._closed = False
        # A thread that waits for its connection holds a seat; one thread at least holds none.
        self._seats = deque(range(most - 1))
        self._called, self._call = os.pipe()
        os.set_blocking(self._called, False)
        os.set_blocking(self._call, False)

    @property
    def is_wanted(self) -> bool:
        """Whether something waits for which no thread is on its way."""
        return len(self._queue) > self._coming

    def add(self, task: Any) -> None:
        """Give a free thread this task, or the next that becomes free."""
        with self._work:
            self._queue.append(task)
            if self._idle:
                self._idle -= 1
                self._coming += 1
                self._work.notify()
                return
            if len(self._threads) < self._most:
                self._coming += 1
                self._start_one()
                return
        # Whoever sits down looks at the queue afterwards, so nobody is missed.
        if len(self._seats) < self._most - 1:
            self._call_back(1)

    def stay(self, poll: select.poll) -> bool:
        """Wait until a connection's next bytes are here; False where it has to go back.

        Parameters
        ----------
        poll : poll
            Made by `poll_of` for the connection.
        """
        try:
            seat = self._seats.pop()
        except IndexError:
            return False
        try:
            while not (self.is_wanted or self._closed):
                ready = poll.poll(KEPT_MILLISECONDS)
                if not ready:
                    return False
                if any(number != self._called for number, _ in ready):
                    return True
                self._take_call()
            return False
        finally:
            self._seats.append(seat)

    def poll_of(self, connection: int) -> select.poll:
        """What `stay` waits on: the connection, and the call back."""
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        poll.register(self._called, select.POLLIN)
        return poll

    def disperse(self) -> None:
        """Nobody waits for a connection from now on; safe in a signal handler."""
        self._closed = True
        self._call_back(self._most)

    def shutdown(self, wait: bool = False) -> None:
        """Let every thread end once the queue is empty (the executor's name for it)."""
        self.disperse()
        with self._work:
            self._queue.extend(_END for _ in self._threads)
            self._coming, self._idle = self._coming + self._idle, 0
            self._work.notify_all()
        if wait:
            for thread in self._threads:
                thread.join()
            os.close(self._called)
            os.close(self._call)

    # ------------------------------------------------------------ threads

    def _start_one(self) -> None:
        name = f"serving-{len(self._threads)}"
        thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self) -> None:
        with self._work:
            self._coming -= 1
        while (task := self._next()) is not _END:
            try:
                self._serve(task)
            except BaseException:  # a thread that ended would be missing for good
                log.exception("A task ended badly")

    def _next(self) -> Any:
        with self._work:
            while not self._queue:
                self._idle += 1  # whoever notifies takes it off again
                self._work.wait()
                self._coming -= 1
            return self._queue.popleft()

    def _call_back(self, count: int) -> None:
        try:
            os.write(self._call, bytes(count))
        except BlockingIOError:
            return  # as many calls as a pipe holds wait already

    def _take_call(self) -> None:
        try:
            os.read(self._called, 1)
        except BlockingIOError:
            return  # another thread took it


_END: Final = object()
