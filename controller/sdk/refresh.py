"""Rulesets on their way in: a jittered poll as the net, a stream of notes for speed."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Final

from controller.assignment.ruleset import Ruleset
from controller.errors import RulesetRefused, Unavailable
from controller.sdk.chance import ceiling, chance
from controller.sdk.journal import Journal
from controller.sdk.snapshot import Snapshot, accept
from controller.sdk.transport import Answer, Transport

RULESET_PATH: Final = "/v1/ruleset"
STREAM_PATH: Final = "/v1/ruleset/stream"
STREAM_SILENCE_SECONDS: Final = 45.0
UNSUPPORTED_PAUSE_SECONDS: Final = 60.0
HEALTHY_SECONDS: Final = 30.0
STOP_SECONDS: Final = 0.5
CATCH_UP_SECONDS: Final = 0.2
CATCH_UP_TRIES: Final = 15


class Refresher:
    """Keeps the newest ruleset: the thread that runs it fetches, another listens for notes.

    Parameters
    ----------
    present, bootstrap : Snapshot and Ruleset, optional
        What the process starts from.
    adopted : callable
        Called in the fetching thread with each new snapshot.
    confirmed : callable
        Called whenever the service confirmed what we have.
    """

    def __init__(
        self,
        connect: Callable[[], Transport],
        key: str,
        journal: Journal,
        *,
        present: Snapshot | None,
        bootstrap: Ruleset | None,
        adopted: Callable[[Snapshot], None],
        confirmed: Callable[[], None],
        poll_seconds: float,
        stream: bool,
        chance: Callable[[], float] = chance,
    ) -> None:
        self._key = key
        self._journal = journal
        self.present = present
        self._bootstrap = bootstrap
        self._adopted = adopted
        self._confirmed = confirmed
        self._poll = poll_seconds
        self._stream = stream
        self._chance = chance
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._failures = 0
        self._wanted = 0
        self._transport = connect()
        self._stream_transport = connect()
        self._threads: list[threading.Thread] = []

    def run(self) -> None:
        """Fetch, in the calling thread, and listen, in another, until `stop`."""
        self._threads.append(threading.current_thread())
        if self._stream:
            listening = threading.Thread(
                target=self._keep_listening, name="controller-notes", daemon=True
            )
            self._threads.append(listening)
            listening.start()
        self._keep_fetching()

    def stop(self) -> None:
        """End the threads, whatever they wait for; they are given a moment and not waited for."""
        self._stop.set()
        self._wake.set()
        self._transport.abort()
        self._stream_transport.abort()
        for thread in self._threads:
            thread.join(STOP_SECONDS)

    # ------------------------------------------------------------ fetching

    def _keep_fetching(self) -> None:
        tries = 0
        while not self._stop.is_set():
            pause = self._fetch(self._transport)
            if self._behind() and tries < CATCH_UP_TRIES:
                # The note may be ahead of the process that answered us by up to a second.
                tries += 1
                self._stop.wait(CATCH_UP_SECONDS)
                continue
            if tries == CATCH_UP_TRIES:
                self._wanted = 0
            tries = 0
            self._wake.wait(pause)
            self._wake.clear()
        self._transport.close()

    def _behind(self) -> bool:
        have = self.present.ruleset.version if self.present is not None else 0
        return self._wanted > have

    def _fetch(self, transport: Transport) -> float:
        """One request; the seconds until the next."""
        headers = {"If-None-Match": f'"{self.present.etag}"'} if self.present else {}
        try:
            answer = transport.request("GET", RULESET_PATH, headers=headers)
            self._take(answer)
        except Unavailable as error:
            return self._failed("unreachable", error.message)
        except RulesetRefused as error:
            self._journal.count("rulesets_refused")
            return self._failed("refused", error.message)
        except Exception as error:  # noqa: BLE001 - the thread's door: fetching goes on
            self._journal.count("errors")
            return self._failed(type(error).__name__, str(error))
        if answer.status in {200, 304}:
            self._failures = 0
            self._journal.state("refresh", "ok", good=True)
            return self._poll * (0.8 + 0.4 * self._chance())
        pause = self._failed(f"status_{answer.status}", answer.body[:200].decode(errors="replace"))
        return pause if answer.retry_after is None else answer.retry_after + self._chance()

    def _take(self, answer: Answer) -> None:
        if answer.status == 304 and self.present is not None:
            self._confirmed()
        if answer.status != 200:
            return
        snapshot = accept(
            answer.body, answer.headers, self._key, present=self.present, bootstrap=self._bootstrap
        )
        changed = self.present is None or snapshot.etag != self.present.etag
        self.present = snapshot
        if changed:
            self._adopted(snapshot)
        else:
            self._confirmed()

    def _failed(self, state: str, detail: str) -> float:
        """Full jitter between nothing and a ceiling that doubles, so a crowd spreads out."""
        self._journal.state("refresh", state, detail)
        self._failures += 1
        # Twice the poll's period at most: on average no rarer and no denser than when all is well.
        return self._chance() * min(ceiling(self._failures), 2 * self._poll)

    # ------------------------------------------------------------ listening

    def _keep_listening(self) -> None:
        failures = 0
        while not self._stop.is_set():
            started = time.monotonic()
            supported = self._listen_once()
            if self._stop.is_set():
                return
            if time.monotonic() - started > HEALTHY_SECONDS:
                failures = 0
            failures += 1
            pause = self._chance() * ceiling(failures) if supported else UNSUPPORTED_PAUSE_SECONDS
            self._stop.wait(pause)

    def _listen_once(self) -> bool:
        """Follow one stream to its end; False where the service has no stream for us."""
        try:
            stream = self._stream_transport.open_stream(
                STREAM_PATH, timeout_seconds=STREAM_SILENCE_SECONDS
            )
        except Unavailable as error:
            self._journal.state("notes", "unreachable", error.message)
            return True
        response = stream.response
        try:
            if response.status != 200:
                self._journal.state("notes", f"status_{response.status}")
                return response.status >= 500 or response.status == 429
            self._journal.state("notes", "ok", good=True)
            self._wake.set()  # Something may have changed while nobody listened.
            while not self._stop.is_set() and (line := response.readline(65536)):
                if line.startswith(b"data:"):
                    self._note(line[5:].strip())
        except (OSError, ValueError) as error:
            if not self._stop.is_set():
                self._journal.state("notes", "lost", f"{type(error).__name__}: {error}")
        finally:
            stream.close()
        return True

    def _note(self, data: bytes) -> None:
        """A note says that there is something newer; the ruleset itself is always fetched."""
        try:
            note = json.loads(data)
        except (ValueError, RecursionError):
            note = None
        version = note.get("version") if isinstance(note, dict) else None
        have = self.present.ruleset.version if self.present is not None else 0
        if isinstance(version, int):
            if version <= have:
                return
            self._wanted = max(self._wanted, version)
        self._wake.set()
