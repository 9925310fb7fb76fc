"""What works behind a client in one process: the table of compiled slots and the threads.

The table is swapped by one assignment, so evaluation takes no lock. Threads start with the first
use, never before, so a client made before a fork (gunicorn --preload, Celery prefork) costs nothing
in the parent; a forked child starts afresh and leaves to the parent what the parent queued.

A worker may be patched by gevent after this module was imported and after the fork. So locks and
threads are taken from `threading` when they are made, not when the module is, and nothing that may
switch to another greenlet, like the start of a thread, happens inside a lock.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from controller.assignment.choice import CHAMPION, Choice, Model, Pin, Reason
from controller.assignment.evaluate import Evaluator
from controller.assignment.hashing import XXH3
from controller.assignment.ruleset import Ruleset
from controller.errors import ControllerError
from controller.sdk.delivery import Delivery, path_of
from controller.sdk.exposures import Allocation, Exposed, Seen
from controller.sdk.journal import Journal
from controller.sdk.loading import NETWORK, ensure_loaded
from controller.sdk.options import Options
from controller.sdk.override import EVERY_SLOT, read_override

if TYPE_CHECKING:
    from controller.sdk.exceptions import PinBook, PinFetcher
    from controller.sdk.refresh import Refresher
    from controller.sdk.snapshot import Snapshot
    from controller.sdk.transport import Answer, Transport

WATCH_SECONDS: Final = 1.0
CLOSE_SECONDS: Final = 2.0

Evaluate = Callable[[str, Mapping[str, Any] | None], Choice]
Row = tuple[Evaluate, Seen, set[str]]


class Engine:
    """One client's ruleset, table, delivery and threads."""

    def __init__(self, options: Options) -> None:
        self.options: Final = options
        self.ruleset: Ruleset | None = None
        self.source = "none"
        self._snapshot: Snapshot | None = None
        self._bootstrap: Ruleset | None = None
        self._confirmed_at = time.monotonic()
        self._begin()
        self._load()
        _ENGINES.add(self)

    def _begin(self) -> None:
        """Everything that belongs to one process: at construction and again in a forked child."""
        directory = self.options.directory
        self.table: dict[str, Row] = {}
        self.started = False
        self.journal = Journal()
        self.ready = threading.Event()
        self.delivery = Delivery(
            self._post,
            self.journal,
            abort=self._abort_post,
            spool=directory / "spool" if directory is not None else None,
            interval_seconds=self.options.flush_seconds,
        )
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._refresher: Refresher | None = None
        self._transport: Transport | None = None
        self._exposed = Exposed()
        self._forced: frozenset[str] = frozenset()
        self._stale = False
        self._fetcher: PinFetcher | None = None
        self._books: list[PinBook] = []
        self._earlier: list[PinBook] = []

    def after_fork(self) -> None:
        """In a forked child: no inherited thread, lock, socket, queue or spool is touched again."""
        self._begin()
        if self.ruleset is not None:
            self.ready.set()

    # ------------------------------------------------------------ life

    def start(self) -> None:
        """Fill the table and begin the background work; later calls do nothing.

        Whoever calls while another thread is at it waits for the table, and for nothing else.
        """
        with self._lock:
            if self.started:
                return
            changed = self._look_around()
            books = self._fill_table()
            self.started = True
        if changed:
            self._tell_of_this_machine()
        self._want(books)
        if self.options.override_file or self.options.max_staleness_seconds is not None:
            self._run("controller-watch", self._watch)
        if not self.options.offline:
            self._run("controller-refresh", self._refresh)
        _finish_with_pools()

    def _run(self, name: str, work: Callable[[], None]) -> None:
        def run() -> None:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - the thread's door: answers go on
                self.journal.count("errors")
                self.journal.state("threads", f"{name} ended", f"{type(error).__name__}: {error}")

        try:
            threading.Thread(target=run, name=name, daemon=True).start()
        except RuntimeError as error:  # no more threads: answers go on from what is there
            self.journal.state("threads", "refused", f"{name}: {error}")

    def close(self, timeout_seconds: float) -> None:
        """Deliver what is possible in time, keep the rest on disk, stop the threads.

        Answers go on from the last ruleset; what is reported from now on is counted as lost.
        """
        self._closed.set()
        if self._refresher is not None:
            self._refresher.stop()
        if self._fetcher is not None:
            self._fetcher.stop()
        if not self.options.offline:
            self.delivery.close(timeout_seconds)
        if self._transport is not None:
            self._transport.close()
        _ENGINES.discard(self)

    def put(self, event: dict[str, Any]) -> None:
        """Hand an event to the delivery; offline it is counted."""
        if self.options.offline:
            self.journal.count("events_offline")
        else:
            self.delivery.put(event)

    def seen_of(self, slot: str, rollout: str | None, allocation: int | None) -> Seen:
        """The units already exposed in this allocation."""
        return self._exposed.of((slot, rollout, allocation))

    @property
    def confirmed_seconds_ago(self) -> float:
        """Time since the service last confirmed the ruleset; infinite where that is unknown.

        For one that it has never confirmed: time since the start.
        """
        return time.monotonic() - self._confirmed_at

    # ------------------------------------------------------------ rulesets

    def _load(self) -> None:
        """The saved snapshot or the bootstrap, whichever is newer: each is only a start."""
        brought = self._brought()
        saved = self._saved(brought)
        if saved is not None:
            self._snapshot = saved
            self._adopt(saved.ruleset, "snapshot")
        elif brought is not None:
            self._bootstrap = brought
            self._adopt(brought, "bootstrap")

    def _brought(self) -> Ruleset | None:
        if self.options.bootstrap is None:
            return None
        from controller.sdk.bootstrap import from_bootstrap

        try:
            return from_bootstrap(self.options.bootstrap)
        except ControllerError as error:
            self.journal.state("bootstrap", "refused", error.message)
            return None

    def _saved(self, brought: Ruleset | None) -> Snapshot | None:
        """The snapshot that an earlier process left, unless the application brings a newer one."""
        directory, key = self.options.directory, self.options.key
        if key is None:
            return None
        if directory is None:
            self.journal.state("state_dir", "none", "set CONTROLLER_STATE_DIR")
            return None
        from controller.sdk.snapshot import is_older, load, seconds_since_confirmed

        age = seconds_since_confirmed(directory)  # before it is read: it may just be replaced
        try:
            saved = load(directory, key)
        except ControllerError as error:
            self.journal.state("snapshot", "refused", error.message)
            return None
        if saved is None or (brought is not None and is_older(saved.ruleset, brought)):
            return None
        self._confirmed_at -= age
        return saved

    def _from_service(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._adopt(snapshot.ruleset, "service")
        self._renew()
        directory = self.options.directory
        if directory is not None:
            from controller.sdk.snapshot import save

            try:
                save(snapshot, directory)
            except (OSError, ValueError) as error:  # ValueError: no path of this system
                self.journal.state("snapshot", "not_saved", str(error))

    def _adopt(self, ruleset: Ruleset, source: str) -> None:
        if any(rules.rollout and rules.rollout.algo == XXH3 for rules in ruleset.slots.values()):
            ensure_loaded("controller.assignment.xxh3")
        self.ruleset = ruleset
        self.source = source
        unreadable = ruleset.unreadable
        if unreadable:
            self.journal.count("rules_unreadable", len(unreadable))
            self.journal.state("rules", f"unreadable: {', '.join(sorted(unreadable))}")
        else:
            self.journal.state("rules", "ok", good=True)
        if self.started:
            self._rebuild()
        self.ready.set()

    def _confirm(self) -> None:
        self._renew()
        if self.options.directory is not None:
            from controller.sdk.snapshot import note_confirmed

            note_confirmed(self.options.directory)

    def _renew(self) -> None:
        self._confirmed_at = time.monotonic()
        if self._stale:
            self._look_again()

    def _rebuild(self) -> None:
        """A new table from the present ruleset."""
        with self._lock:
            books = self._fill_table()
        self._want(books)

    def _fill_table(self) -> list[PinBook]:
        """Swap in a new table by one assignment; units already seen stay seen. Hold the lock."""
        ruleset = self.ruleset
        if ruleset is None:
            return []
        self._earlier, self._books = self._books, []
        table: dict[str, Row] = {}
        kept: list[Allocation] = []
        for slot, rules in ruleset.slots.items():
            evaluator = Evaluator(rules, ruleset.version)
            name = (slot, rules.rollout.id if rules.rollout else None, evaluator.allocation)
            seen = self._exposed.of(name)
            kept.append(name)
            table[slot] = (self._evaluation(slot, evaluator), seen, seen.recent)
        self._exposed.keep(kept)
        self.table = table
        self._earlier = []
        return self._books

    def _want(self, books: list[PinBook]) -> None:
        for book in books:
            assert self._fetcher is not None
            if book.document is None:
                self._fetcher.want(book, None)

    def _evaluation(self, slot: str, evaluator: Evaluator) -> Evaluate:
        """How a slot answers now: by its rules, unless this machine or their age says champion.

        A kill does not age: the last that was heard of it stands.
        """
        if EVERY_SLOT in self._forced or slot in self._forced:
            reason = Reason.KILLED
        elif self._stale and evaluator.fixed is None:
            reason = Reason.STALE
        else:
            return self._by_rules(evaluator)
        forced = champion(slot, evaluator.rules.champion, reason, evaluator.version)
        return lambda _unit, _attributes: forced

    def _by_rules(self, evaluator: Evaluator) -> Evaluate:
        """The compiled rules; with remembered exceptions where the rollout has any."""
        rollout = evaluator.rollout
        if self.options.offline or rollout is None or rollout.exceptions is None:
            return evaluator.evaluate
        ensure_loaded("controller.sdk.exceptions")
        from controller.sdk.exceptions import PinBook, PinFetcher

        if self._fetcher is None:
            self._fetcher = PinFetcher(self._connect, self.journal)
        slot = evaluator.rules.slot
        before = next((book for book in self._earlier if book.slot == slot), None)
        book = PinBook(evaluator, self._fetcher.want, self.journal, before)
        self._books.append(book)
        return book.evaluate

    def pin(self, slot: str, unit: str) -> Pin | None:
        """The pin that counts for this unit, as far as this machine knows it."""
        return next((book.pin(unit) for book in self._books if book.slot == slot), None)

    def prefetch(self, units: Iterable[str]) -> None:
        """Learn in the background whether these units have pins."""
        if self._fetcher is not None:
            self._fetcher.prefetch(self._books, units)

    # ------------------------------------------------------------ this machine

    def _watch(self) -> None:
        closed = self._closed
        while not closed.wait(WATCH_SECONDS):
            self._look_again()

    def _look_again(self) -> None:
        if self._look_around():
            self._tell_of_this_machine()
            self._rebuild()

    def _look_around(self) -> bool:
        """Read the override file and the age of the ruleset; whether either changed."""
        before = (self._forced, self._stale)
        if self.options.override_file:
            self._forced = read_override(self.options.override_file)
        limit = self.options.max_staleness_seconds
        self._stale = limit is not None and self.confirmed_seconds_ago > limit
        return before != (self._forced, self._stale)

    def _tell_of_this_machine(self) -> None:
        forced = " ".join(sorted(self._forced)) or "nothing"
        self.journal.state("override", f"forces {forced}", good=not self._forced)
        self.journal.state("age", "stale" if self._stale else "fresh", good=not self._stale)

    # ------------------------------------------------------------ the network

    def _refresh(self) -> None:
        """The refreshing thread: what it needs is loaded here, while nobody waits for it."""
        ensure_loaded(*NETWORK)
        from controller.sdk.refresh import Refresher

        closed = self._closed
        assert self.options.key is not None
        refresher = self._refresher = Refresher(
            self._connect,
            self.options.key,
            self.journal,
            present=self._snapshot,
            bootstrap=self._bootstrap,
            adopted=self._from_service,
            confirmed=self._confirm,
            poll_seconds=self.options.poll_seconds,
            stream=self.options.stream,
        )
        if not closed.is_set():
            refresher.run()

    def _connect(self) -> Transport:
        from controller.sdk.transport import Transport

        assert self.options.url is not None
        assert self.options.key is not None
        return Transport(
            self.options.url,
            self.options.key,
            timeout_seconds=self.options.timeout_seconds,
            ssl_context=self.options.ssl_context,
        )

    def _post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        if self._transport is None:
            self._transport = self._connect()
        sent = {"Content-Type": "application/json", **headers}
        return self._transport.request("POST", path_of(body), body=body, headers=sent)

    def _abort_post(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def champion(
    slot: str, model: Model | None, reason: Reason, version: int, default: Any = None
) -> Choice:
    """A champion answer; without a model its payload is the caller's default."""
    return Choice(
        slot=slot,
        arm=CHAMPION,
        model=model,
        payload=default if model is None else model.payload,
        reason=reason,
        rollout=None,
        allocation=None,
        ruleset=version,
    )


_ENGINES: weakref.WeakSet[Engine] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for engine in list(_ENGINES):
        engine.after_fork()


def _at_exit() -> None:
    for engine in list(_ENGINES):
        engine.close(CLOSE_SECONDS)


def _finish_with_pools() -> None:
    """Workers of multiprocessing and Celery leave without `atexit`; they run these instead."""
    for name in ("multiprocessing.util", "billiard.util"):
        module = sys.modules.get(name)
        if module is not None:
            module.Finalize(None, _at_exit, exitpriority=100)
    signals = sys.modules.get("celery.signals")
    if signals is not None:
        # A prefork child of Celery runs no finalizer either: it tells this signal, then leaves.
        shutdown = signals.worker_process_shutdown
        shutdown.connect(_with_celery, weak=False, dispatch_uid=__name__)


def _with_celery(**_: Any) -> None:
    _at_exit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(_at_exit)
