"""Events on their way to the service: queued, batched, sent, spooled, sent again.

Application threads only append to a bounded queue. One background thread makes batches of at most
500 events whose bytes never change again: a repeat carries the same batch id and the same bytes, so
the service counts it once. Statements that two ids are one unit go in batches of their own, to
their own address; they may be repeated without an id. What cannot be delivered goes to the backlog,
on disk or in memory; what must be given up is counted and reported with the next batch. A batch
that something on the way refuses again and again (a firewall that dislikes its bytes) is set aside
behind the others and tried now and then.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

from controller.errors import Unavailable
from controller.events.ids import EventIds
from controller.sdk.chance import LONGEST_SECONDS, ceiling, chance
from controller.sdk.journal import Journal
from controller.sdk.loading import NETWORK, ensure_loaded

if TYPE_CHECKING:
    from pathlib import Path

    from controller.sdk.spool import Frame
    from controller.sdk.store import Backlog
    from controller.sdk.transport import Answer

SCHEMA: Final = 1
BATCH_EVENTS: Final = 500
BATCH_BYTES: Final = 256 * 1024
QUEUE_EVENTS: Final = 20_000
GRACE_SECONDS: Final = 0.5
ALIAS: Final = "alias"
EVENTS_PATH: Final = "/v1/events"
ALIASES_PATH: Final = "/v1/aliases/batch"
_ALIASES: Final = b'{"aliases":['
REFUSALS: Final = 3
_REFUSED_FOR_GOOD: Final = frozenset({400, 409, 413, 415, 422})
_ABOUT_US: Final = frozenset({401, 429})  # the key or the rate, whatever the batch holds

Post = Callable[[bytes, Mapping[str, str]], "Answer"]
Sent = Literal["settled", "refused", "failed"]


class Delivery:
    """The queue and its thread.

    Parameters
    ----------
    post : callable
        Sends one batch's bytes with extra headers; raises `Unavailable` without an answer.
    abort : callable
        Ends a `post` that another thread waits for.
    spool : Path or None
        Directory of the spool; None keeps undelivered batches in memory only.
    """

    def __init__(
        self,
        post: Post,
        journal: Journal,
        *,
        abort: Callable[[], None],
        spool: Path | None,
        interval_seconds: float = 1.0,
        chance: Callable[[], float] = chance,
    ) -> None:
        self._post = post
        self._journal = journal
        self._abort = abort
        self._spool_directory = spool
        self._interval = interval_seconds
        self._chance = chance
        self._queue: deque[dict[str, Any]] = deque(maxlen=QUEUE_EVENTS)
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._backlog: Backlog | None = None
        self._ids = EventIds()
        self._closing = False
        self._urgent = False
        self._busy = False
        self._failures = 0
        self._not_before = 0.0
        self._aside_not_before = 0.0
        self._refusals = (0, 0)  # of which batch (hash), how many

    def put(self, event: dict[str, Any]) -> None:
        """Queue one event (`occurred_at` may be a Unix time); a full queue drops its oldest."""
        queue = self._queue
        if self._closing:
            self._lost("after_close", 1)
            return
        if len(queue) >= QUEUE_EVENTS:
            self._lost("queue_full", 1)
        queue.append(event)
        if self._thread is None:
            self.start()
        elif len(queue) == BATCH_EVENTS:
            with self._changed:
                self._changed.notify_all()

    def new_id(self) -> str:
        """A fresh event id."""
        return self._ids()

    def start(self) -> None:
        """Start the thread unless it runs; where none can be had, the next event tries again."""
        with self._changed:
            if self._thread is not None or self._closing:
                return
            thread = threading.Thread(target=self._run, name="controller-delivery", daemon=True)
            self._thread = thread
        try:
            thread.start()  # outside: it may switch to a greenlet that reports, too
        except RuntimeError as error:  # no more threads, or the interpreter is ending
            self._thread = None
            self._journal.state("delivery", "no_thread", str(error))

    def flush(self, timeout_seconds: float) -> bool:
        """Whether everything queued so far was acknowledged in time."""
        if self._thread is None and not self._queue:
            return True
        self.start()
        deadline = time.monotonic() + timeout_seconds
        with self._changed:
            self._urgent = True
            self._changed.notify_all()
            while not self._idle():
                left = deadline - time.monotonic()
                if left <= 0 or self._thread is None:
                    return False
                self._changed.wait(min(left, 0.05))
            return True

    def close(self, timeout_seconds: float) -> None:
        """Deliver what is possible in time and leave the rest to the spool."""
        if self._closing:
            return
        self.flush(timeout_seconds)
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and thread.ident is not None:
            thread.join(GRACE_SECONDS)
            self._abort()
            thread.join(GRACE_SECONDS)

    @property
    def waiting(self) -> int:
        """Events in the queue."""
        return len(self._queue)

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        ensure_loaded(*NETWORK)
        from controller.sdk.store import Backlog

        self._backlog = Backlog(self._spool_directory, self._lost, self._journal)
        while not self._closing:
            with self._changed:
                if not self._urgent and len(self._queue) < BATCH_EVENTS:
                    self._changed.wait(self._interval)
                urgent, self._urgent = self._urgent, False
                self._busy = True
            if urgent:
                self._not_before = self._aside_not_before = 0.0
            self._work(self._backlog)
            with self._changed:
                self._busy = False
                self._changed.notify_all()
        self._work(self._backlog, send=False)
        self._backlog.close()

    def _work(self, backlog: Backlog, *, send: bool = True) -> None:
        """Send or keep everything queued, then send what waits in the backlog."""
        try:
            while self._queue:
                for frame in self._next_batches():
                    if not (send and self._may_send() and self._send(frame) == "settled"):
                        backlog.append(frame)
            while send and self._may_send() and self._send_oldest(backlog):
                continue
        except Exception as error:  # noqa: BLE001 - the thread's door: delivery goes on
            self._journal.count("errors")
            self._journal.state("delivery", type(error).__name__, str(error))

    def _next_batches(self) -> list[Frame]:
        """Freeze the next at most 500 events or 256 KiB into bytes: one batch of each kind."""
        events: list[bytes] = []
        aliases: list[bytes] = []
        size = 0
        while self._queue and len(events) + len(aliases) < BATCH_EVENTS and size < BATCH_BYTES:
            event = self._queue.popleft()
            part = self._encode(event)
            if part is not None:
                (aliases if event["type"] == ALIAS else events).append(part)
                size += len(part)
        from controller.sdk.spool import Frame

        head = f'{{"schema":{SCHEMA},"batch_id":"{self._ids()}","events":['.encode()
        return [
            Frame(body=begin + b",".join(parts) + b"]}", events=len(parts))
            for begin, parts in ((_ALIASES, aliases), (head, events))
            if parts
        ]

    def _encode(self, event: dict[str, Any]) -> bytes | None:
        """One event's JSON; None, counted and said, for one that could never be accepted."""
        import json

        from controller.sdk.reports import complete

        try:
            wire = complete(event)
            if not isinstance(wire, str):
                return json.dumps(wire, separators=(",", ":"), allow_nan=False).encode()
        except Exception as error:  # noqa: BLE001 - the door: the values are the application's own
            wire = f"{type(error).__name__}: {error}"
        self._journal.count("events_invalid")
        self._journal.state("reports", "invalid", wire)
        return None

    def _may_send(self) -> bool:
        return time.monotonic() >= self._not_before

    def _send(self, frame: Frame, *, aside: bool = False) -> Sent:
        """Send one batch: settled is accepted, or refused in a way no repeat can mend."""
        # Only the address of events takes in what was lost.
        lost = 0 if frame.body.startswith(_ALIASES) else self._journal.take("lost_unreported")
        sent: Sent = "failed"
        try:
            answer = self._post(frame.body, {"Controller-Events-Lost": str(lost)} if lost else {})
        except Unavailable as error:
            self._failed("unreachable", error.message, None)
        except Exception as error:  # noqa: BLE001 - the door: the batch is kept whatever happens
            self._journal.count("errors")
            self._failed(type(error).__name__, str(error), None)
        else:
            sent = self._answered(answer, frame, aside=aside)
        if lost and sent != "settled":
            self._journal.count("lost_unreported", lost)
        return sent

    def _answered(self, answer: Answer, frame: Frame, *, aside: bool) -> Sent:
        receipt = _receipt(answer)
        if receipt is not None:
            self._accepted(receipt, frame)
            return "settled"
        status, detail = f"status_{answer.status}", _detail(answer)
        if answer.status in _REFUSED_FOR_GOOD:
            self._lost(f"refused_{answer.status}", frame.events)
            self._journal.state("delivery", f"refused_{answer.status}", detail)
            return "settled"
        refused = answer.status < 500 and answer.status not in _ABOUT_US
        if not (refused and aside):  # a batch known for it is no news, and delays no other
            self._failed(status, detail, answer.retry_after)
        return "refused" if refused else "failed"

    def _accepted(self, receipt: Mapping[str, Any], frame: Frame) -> None:
        self._failures = 0
        self._not_before = 0.0
        self._journal.state("delivery", "ok", good=True)
        rejected = [item for item in receipt.get("rejected", ()) if isinstance(item, dict)]
        self._journal.count("events_delivered", frame.events - len(rejected))
        if rejected:
            self._journal.count("events_rejected", len(rejected))
            codes = ", ".join(sorted({str(item.get("code")) for item in rejected}))
            self._journal.state("events", f"rejected: {codes}", str(rejected[0].get("detail")))

    def _failed(self, state: str, detail: str, retry_after: float | None) -> None:
        """Wait for as long as the service says, else a full-jitter exponential time."""
        self._failures += 1
        jitter = self._chance()
        pause = jitter * ceiling(self._failures) if retry_after is None else retry_after + jitter
        self._not_before = time.monotonic() + pause
        self._journal.state("delivery", state, detail)

    def _send_oldest(self, backlog: Backlog) -> bool:
        """Deliver the oldest batches; False when there is nothing (more) to send now."""
        waiting = backlog.oldest()
        if waiting is None or (waiting.aside and time.monotonic() < self._aside_not_before):
            return False
        rest, aside = list(waiting.frames), None
        while rest and self._may_send():
            sent = self._send(rest[0], aside=waiting.aside)
            if sent == "refused" and (waiting.aside or self._refused_enough(rest[0])):
                aside = self._set_aside(rest.pop(0))
            if sent != "settled":
                break
            if waiting.aside:
                self._journal.state("set_aside", "ok", good=True)
            del rest[0]
        if len(rest) == len(waiting.frames):
            return False
        return backlog.keep_rest(waiting, rest, aside=aside) and (not rest or aside is not None)

    def _refused_enough(self, frame: Frame) -> bool:
        """Whether this is one of several refusals of the same batch."""
        name = hash(frame.body)
        times = self._refusals[1] + 1 if self._refusals[0] == name else 1
        self._refusals = (name, times)
        return times >= REFUSALS

    def _set_aside(self, frame: Frame) -> Frame:
        self._aside_not_before = time.monotonic() + LONGEST_SECONDS * (0.5 + self._chance() / 2)
        self._journal.state("set_aside", "waits", f"{frame.events} events")
        return frame

    def _idle(self) -> bool:
        kept = self._backlog is None or not self._backlog.empty
        return not self._queue and not self._busy and not self._urgent and not kept

    def _lost(self, reason: str, events: int) -> None:
        self._journal.count(f"events_{reason}", events)
        self._journal.count("lost_unreported", events)
        self._journal.state("loss", reason, f"{events} events")


def path_of(body: bytes) -> str:
    """The address for a batch of these bytes, also one that an earlier process left on disk."""
    return ALIASES_PATH if body.startswith(_ALIASES) else EVENTS_PATH


def _receipt(answer: Answer) -> Mapping[str, Any] | None:
    """What the service says it accepted; None for anything else, like a sign-in page with 200."""
    import json

    if answer.status != 202:
        return None
    try:
        receipt = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    known = isinstance(receipt, dict) and isinstance(receipt.get("accepted"), int)
    return receipt if known and isinstance(receipt.get("rejected", []), list) else None


def _detail(answer: Answer) -> str:
    return answer.body[:200].decode("utf-8", "replace")
