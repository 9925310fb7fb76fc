"""Hold the ruleset in force, per project, in a serving process.

SQL is the truth, Redis a copy that can be newer to reach. A process asks SQL every second and
whenever a note comes, serves whichever version is higher, and never goes back to a lower one. What
it holds stays in force while both stores are away.
"""

from __future__ import annotations

import gzip
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from time import monotonic
from typing import Final, Protocol

from controller.assignment.ruleset import Ruleset
from controller.errors import NotFound, RulesetRefused, Unavailable
from controller.flow.ports.rollouts import PublishedRuleset
from controller.flow.ports.work import Store

log = logging.getLogger(__name__)

POLL_SECONDS: Final = 1.0
PAUSE_AFTER_FAILURE_SECONDS: Final = 1.0


class Copy(Protocol):
    """A copy of a published ruleset."""

    @property
    def version(self) -> int: ...
    @property
    def etag(self) -> str: ...
    @property
    def body(self) -> bytes: ...


class Notes(Protocol):
    """The ruleset's copy and the notes that say there is a newer one."""

    def current(self, project: str) -> Copy | None: ...
    def follow(self, project: str, *, wait_seconds: float = 1.0) -> Iterator[object]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One ruleset, ready to be sent (`body`, `packed` by gzip) and to be evaluated.

    `copied` says that it came from the copy in Redis and SQL has not yet had its word.
    """

    version: int
    sha256: str
    body: bytes
    packed: bytes
    ruleset: Ruleset
    copied: bool = False


class Rulesets:
    """The rulesets in force. Safe to share between threads; make it after a fork.

    Parameters
    ----------
    notes : Notes or None
        None where there is no Redis: then the poll alone carries changes.
    """

    def __init__(
        self, store: Store, notes: Notes | None, clock: Callable[[], float] = monotonic
    ) -> None:
        self._store = store
        self._notes = notes
        self._clock = clock
        self._held: dict[str, Served] = {}
        self._lock = threading.Lock()
        self._asking = threading.Lock()
        self._asked: dict[str, int] = {}
        self._watched: set[str] = set()
        self._failed_at = -PAUSE_AFTER_FAILURE_SECONDS
        self._closed = threading.Event()

    def current(self, project: str) -> Served:
        """The ruleset in force; at most a second old, and no wait once there is one.

        Raises
        ------
        NotFound
            If the project has none.
        Unavailable
            If no store can say.
        """
        held = self._held.get(project)
        if held is None:
            held = self.fresh(project)
        self._watch(project)
        return held

    def fresh(self, project: str) -> Served:
        """The ruleset in force by SQL's word now; what is held where SQL does not answer.

        A crowd that a note sends here at once shares its questions: whoever waited while another
        thread asked needs no question of its own where that one began after it came.
        """
        begun = self._asked.get(project, 0)
        with self._asking:
            is_told = self._asked.get(project, 0) > begun
            if not is_told and self._clock() - self._failed_at >= PAUSE_AFTER_FAILURE_SECONDS:
                if project in self._held:
                    self._asked[project] = begun + 1
                self.refresh(project)
        held = self._held.get(project)
        if held is not None:
            return held
        if self._clock() - self._failed_at < PAUSE_AFTER_FAILURE_SECONDS:
            raise Unavailable("No store answers that could name the ruleset; try again.")
        raise NotFound(f"The project {project!r:.80} has no ruleset yet: define a slot first.")

    def refresh(self, project: str) -> None:
        """Take over a newer version, from SQL or else from its copy in Redis."""
        held = self._held.get(project)
        version = held.version if held else 0
        try:
            with self._store.reading() as work:
                is_settled = held is None or not held.copied
                if is_settled and work.rulesets.newest_version(project) <= version:
                    return
                newest = work.rulesets.newest(project)
            if newest is not None:
                self._take(project, newest, copied=False)
        except Unavailable:
            self._failed_at = self._clock()
            self._from_copy(project, version)

    def close(self) -> None:
        """Stop following notes."""
        self._closed.set()

    def _from_copy(self, project: str, version: int) -> None:
        if self._notes is None:
            return
        try:
            copy = self._notes.current(project)
        except Unavailable:
            return
        if copy is not None and copy.version > version:
            self._take(project, copy, copied=True)

    def _take(self, project: str, told: Copy | PublishedRuleset, *, copied: bool) -> None:
        named = {"project": project, "version": told.version}
        etag = told.sha256 if isinstance(told, PublishedRuleset) else told.etag
        if sha256(told.body).hexdigest() != etag:
            log.error("ruleset_damaged", extra=named)
            return
        try:
            ruleset = Ruleset.from_bytes(told.body)
        except RulesetRefused:
            log.exception("ruleset_refused", extra=named)
            return
        served = Served(
            version=told.version,
            sha256=etag,
            body=told.body,
            packed=gzip.compress(told.body, 6, mtime=0),
            ruleset=ruleset,
            copied=copied,
        )
        with self._lock:
            held = self._held.get(project)
            if held is None or _replaces(served, held):
                self._held[project] = served
            elif served.ruleset.deployment != held.ruleset.deployment:
                log.error("ruleset_foreign", extra=named | {"deployment": ruleset.deployment})

    # ------------------------------------------------------------ following

    def _watch(self, project: str) -> None:
        if project in self._watched:
            return
        with self._lock:
            if project in self._watched:
                return
            self._watched.add(project)
        threading.Thread(
            target=self._follow, args=(project,), name=f"ruleset-{project}", daemon=True
        ).start()

    def _follow(self, project: str) -> None:
        while not self._closed.is_set():
            try:
                for _ in self._ticks(project):
                    self.refresh(project)
                    if self._closed.is_set():
                        return
            except Unavailable:
                self.refresh(project)
                self._closed.wait(POLL_SECONDS)

    def _ticks(self, project: str) -> Iterator[object]:
        if self._notes is not None:
            yield from self._notes.follow(project, wait_seconds=POLL_SECONDS)
        while not self._closed.wait(POLL_SECONDS):
            yield None


def _replaces(new: Served, held: Served) -> bool:
    """A higher version of the same deployment; SQL's word also over a copy that is not ours."""
    if new.ruleset.deployment != held.ruleset.deployment:
        return held.copied and not new.copied
    return new.version > held.version or (new.version == held.version and not new.copied)
