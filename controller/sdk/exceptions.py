"""Units whose arm the pure function cannot give: merged identities and lost eligibility.

A rollout's rules name, by its sha256, a side document with the salted 64-bit hashes of such units.
A unit outside it is settled by the pure function. A unit inside it has a pin at the service: until
that is known here (`Client.prefetch`, or after the first question about it) the answer is the pure
function's arm with reason PIN_UNKNOWN.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from threading import Event, Lock, Thread
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from controller.assignment.choice import CHAMPION, Choice, Pin, Reason
from controller.assignment.digest import sha256
from controller.assignment.evaluate import Evaluator
from controller.assignment.hashing import PPM
from controller.assignment.ruleset import RolloutRules
from controller.errors import Unavailable
from controller.sdk.chance import ceiling, chance
from controller.sdk.journal import Journal
from controller.sdk.side_document import SideDocument, read_side_document

if TYPE_CHECKING:
    from controller.sdk.transport import Transport

EXCEPTIONS_PATH: Final = "/v1/ruleset/exceptions"
ASSIGN_PATH: Final = "/v1/assign/batch"
BATCH_UNITS: Final = 500
MOST_WANTED: Final = 10_000
MOST_LEARNED: Final = 100_000
ASK_AGAIN_SECONDS: Final = 60.0
_BELOW_PIN: Final = frozenset(
    {Reason.SPLIT, Reason.NOT_ENROLLED, Reason.NOT_ELIGIBLE, Reason.RETIRED}
)


class _Learned(NamedTuple):
    """What the service said about a unit's pin (None: it has none), and when."""

    pin: Pin | None
    at: float


class PinBook:
    """What is known about the exceptions of one slot's live allocation.

    Parameters
    ----------
    want : callable
        Told about a unit whose pin should be learned in the background.
    before : PinBook or None
        The slot's book under the ruleset before: what still holds of it is taken over, so that a
        new side document every second asks nothing again.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        want: Callable[[PinBook, str], None],
        journal: Journal,
        before: PinBook | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._evaluator = evaluator
        self._want = want
        self._journal = journal
        self._clock = clock
        self._learned: dict[str, _Learned] = {}
        self._unknown: dict[int, Choice] = {}
        self._earlier: SideDocument | None = None
        self.document: SideDocument | None = None
        self.replaced = False
        if before is not None and before.rollout.id == self.rollout.id:
            self._take_over(before)

    @property
    def slot(self) -> str:
        """The slot."""
        return self._evaluator.rules.slot

    @property
    def rollout(self) -> RolloutRules:
        """The live rollout."""
        rollout = self._evaluator.rollout
        assert rollout is not None
        return rollout

    def evaluate(self, unit: str, attributes: Mapping[str, Any] | None) -> Choice:
        """The pure function's answer, or the pin's where the unit has one."""
        pure = self._evaluator.evaluate(unit, attributes)
        if pure.reason not in _BELOW_PIN or not self.excepted(unit):
            return pure
        learned = self._learned.get(unit)
        if learned is not None:
            if self._clock() - learned.at > ASK_AGAIN_SECONDS:
                self._want(self, unit)
            pin = learned.pin
            return pure if pin is None else self._evaluator.evaluate(unit, attributes, pin)
        self._journal.count("pins_unknown")
        if self._known_document is not None:  # until it is here, nobody is asked about by name
            self._want(self, unit)
        unknown = self._unknown.get(id(pure))
        if unknown is None:
            unknown = self._unknown[id(pure)] = replace(pure, reason=Reason.PIN_UNKNOWN)
        return unknown

    def excepted(self, unit: str) -> bool:
        """Whether the unit may have a pin; everybody may until the first side document is here."""
        document = self._known_document
        if document is None:
            return True
        return document.holds(self._evaluator.rules.unit_type, unit)

    def pin(self, unit: str) -> Pin | None:
        """The unit's pin, where it was learned and still counts."""
        learned = self._learned.get(unit) if self.excepted(unit) else None
        return None if learned is None else learned.pin

    def learn(self, unit: str, answer: Mapping[str, Any]) -> None:
        """Take in the service's own answer about one unit."""
        if len(self._learned) >= MOST_LEARNED:
            self._learned.clear()
        self._learned[unit] = _Learned(self._pin_in(answer), self._clock())

    @property
    def _known_document(self) -> SideDocument | None:
        """The document in force, or while that is fetched the one before: it only lacks units."""
        return self.document or self._earlier

    def _pin_in(self, answer: Mapping[str, Any]) -> Pin | None:
        """The pin that makes the evaluator answer as the service did; None where it does so anyway.

        The service has just compared the pin's bucket with today's enrolment: 0 passes that again,
        and a bucket beyond every enrolment does not.
        """
        rollout, arm, reason = self.rollout, answer.get("arm"), answer.get("reason")
        if reason == Reason.NOT_ENROLLED:
            return Pin(allocation=rollout.allocation, arm=CHAMPION, bucket=PPM)
        same = (answer.get("rollout"), answer.get("allocation")) == (rollout.id, rollout.allocation)
        if reason == Reason.PINNED and same and isinstance(arm, str):
            return Pin(allocation=rollout.allocation, arm=arm, bucket=0)
        return None

    def _take_over(self, before: PinBook) -> None:
        """Keep the document where it is the same one, and the pins while traffic is the same."""
        before.replaced = True
        mine, theirs = self.rollout, before.rollout
        if mine.exceptions == theirs.exceptions:
            self.document = before.document
        self._earlier = before.document or before._earlier
        if replace(mine, exceptions=None) == replace(theirs, exceptions=None):
            self._learned = {
                unit: learned
                for unit, learned in before._learned.copy().items()
                if learned.pin is not None
            }


class PinFetcher:
    """Fetches side documents and pins in a thread that lives only while there is work."""

    def __init__(self, connect: Callable[[], Transport], journal: Journal) -> None:
        self._connect = connect
        self._journal = journal
        self._lock = Lock()
        self._wanted: deque[tuple[PinBook, str | None]] = deque()
        self._asked: set[tuple[int, str | None]] = set()
        self._working = False
        self._stop = Event()

    def want(self, book: PinBook, unit: str | None) -> None:
        """Fetch one unit's pin (None: the side document) soon; once, however often it is asked.

        Where 10,000 wait already a unit is left to its next evaluation; a document never is.
        """
        with self._lock:
            name = (id(book), unit)
            full = unit is not None and len(self._wanted) >= MOST_WANTED
            if full or name in self._asked:
                return
            self._asked.add(name)
            self._wanted.append((book, unit))
            if self._working:
                return
            self._working = True
        try:
            Thread(target=self._work, name="controller-pins", daemon=True).start()
        except RuntimeError as error:  # no more threads: what waits goes with the next that starts
            with self._lock:
                self._working = False
            self._journal.state("threads", "refused", f"controller-pins: {error}")

    def prefetch(self, books: Iterable[PinBook], units: Iterable[str]) -> None:
        """Learn about the units that may have a pin."""
        listed = list(units)
        for book in books:
            for unit in listed:
                if book.excepted(unit):
                    self.want(book, unit)

    def stop(self) -> None:
        """Let the thread end after the request it waits for."""
        self._stop.set()

    def _work(self) -> None:
        transport = self._connect()
        failures = 0
        try:
            while not self._stop.is_set() and (batch := self._next()):
                if self._fetch(transport, batch):
                    failures = 0
                    continue
                failures += 1
                for book, unit in batch:
                    if (
                        unit is None and not book.replaced
                    ):  # a unit is asked for again by its next evaluation
                        self.want(book, None)
                self._stop.wait(chance() * ceiling(failures))
        finally:
            transport.close()

    def _next(self) -> list[tuple[PinBook, str | None]]:
        with self._lock:
            size = min(BATCH_UNITS, len(self._wanted))
            batch = [self._wanted.popleft() for _ in range(size)]
            for book, unit in batch:
                self._asked.discard((id(book), unit))
            self._working = bool(batch)
            return batch

    def _fetch(self, transport: Transport, batch: list[tuple[PinBook, str | None]]) -> bool:
        """One round of requests; whether all of them were answered."""
        try:
            for book, unit in batch:
                if unit is None:
                    book.document = _side_document(transport, book.rollout)
            units = [(book, unit) for book, unit in batch if unit is not None]
            if units:
                _learn(transport, units)
            self._journal.state("pins", "ok", good=True)
            return True
        except Unavailable as error:
            self._journal.state("pins", "unavailable", error.message)
        except Exception as error:  # noqa: BLE001 - the thread's door
            self._journal.count("errors")
            self._journal.state("pins", type(error).__name__, str(error))
        return False


def _side_document(transport: Transport, rollout: RolloutRules) -> SideDocument:
    """The document that the signed ruleset names by its sha256; anything else is refused."""
    answer = transport.request("GET", f"{EXCEPTIONS_PATH}/{rollout.exceptions}")
    if answer.status != 200:
        raise Unavailable(f"side document: status {answer.status}")
    if sha256(answer.body).hexdigest() != rollout.exceptions:
        raise Unavailable("side document: its bytes are not those the ruleset names")
    return read_side_document(answer.body)


def _learn(transport: Transport, units: list[tuple[PinBook, str]]) -> None:
    requests = [{"slot": book.slot, "unit": unit, "expose": False} for book, unit in units]
    answer = transport.request(
        "POST",
        ASSIGN_PATH,
        body=json.dumps({"requests": requests}).encode(),
        headers={"Content-Type": "application/json"},
    )
    if answer.status != 200:
        raise Unavailable(f"pins: status {answer.status}")
    for (book, unit), found in zip(units, json.loads(answer.body)["assignments"], strict=True):
        book.learn(unit, found)
