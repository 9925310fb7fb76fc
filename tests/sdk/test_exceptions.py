"""Exceptions of the pure function: named by hash, learned in the background, counted until then."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from typing import Any

import pytest

from controller.assignment.choice import Pin, Reason
from controller.assignment.evaluate import Evaluator, evaluate
from controller.assignment.hashing import PPM, keyed_hash
from controller.assignment.ruleset import Ruleset
from controller.sdk import Client
from controller.sdk.exceptions import MOST_WANTED, PinBook, PinFetcher
from controller.sdk.journal import Journal
from controller.sdk.side_document import read_side_document
from controller.sdk.transport import Transport
from tests.processes import PATIENCE_SECONDS
from tests.sdk.conftest import MakeClient
from tests.sdk.service import KEY, Handler, Service, wait_for
from tests.unit.assignment.rulesets import rollout, ruleset, slot

UNITS = [f"flight-{number}" for number in range(200)]
PURE = ruleset(slot(rollout(enrolled_ppm=PPM)))
MERGED = next(unit for unit in UNITS if evaluate(PURE, "alert", unit).arm == "champion")
OTHER = next(unit for unit in UNITS if evaluate(PURE, "alert", unit).arm == "challenger")
HASHES = [keyed_hash("k", "departure", unit) for unit in (MERGED, OTHER)]
SIDE = json.dumps({"schema": 1, "key": "k", "units": HASHES}).encode()
PIN = Pin(allocation=1, arm="challenger", bucket=17)


def rules(enrolled_ppm: int = PPM, version: int = 7, side: bytes = SIDE) -> Ruleset:
    name = sha256(side).hexdigest()
    live = rollout(enrolled_ppm=enrolled_ppm, sticky="exceptions", exceptions=name)
    return ruleset(slot(live), slot(slot="quiet", observe=None), version=version)


class Pinned:
    """The service's side: the document, and remote answers in which MERGED has a pin."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.side = SIDE
        self.pin = PIN
        self.asked: list[str] = []
        self.down = False
        service.fault = self

    def __call__(self, handler: Handler) -> bool:
        if handler.path.startswith("/v1/ruleset/exceptions/"):
            return handler.answer(503 if self.down else 200, self.side)
        if handler.path != "/v1/assign/batch":
            return False
        if self.down:
            return handler.answer(503, b"")
        answers = []
        for request in json.loads(handler.body)["requests"]:
            assert request["expose"] is False
            self.asked.append(request["unit"])
            assert self.service.ruleset is not None
            pin = self.pin if request["unit"] == MERGED else None
            choice = evaluate(self.service.ruleset, request["slot"], request["unit"], None, pin)
            where = {"rollout": choice.rollout, "allocation": choice.allocation}
            answers.append({"arm": choice.arm, "reason": choice.reason.value, **where})
        return handler.answer(200, json.dumps({"assignments": answers}).encode())


@pytest.fixture
def pinned(service: Service) -> Pinned:
    service.publish(rules())
    return Pinned(service)


@pytest.fixture
def client(pinned: Pinned, make_client: MakeClient) -> Iterator[Client]:
    with closing(make_client(pinned.service)) as made:
        assert made.wait_until_ready(PATIENCE_SECONDS)
        yield made


def settled(client: Client) -> bool:
    return client.peek("alert", unit=UNITS[0]).reason is not Reason.PIN_UNKNOWN


def test_outside_the_document_the_pure_function_is_final(client: Client, pinned: Pinned) -> None:
    assert wait_for(lambda: settled(client))
    pinned.asked.clear()
    for unit in UNITS:
        if unit not in {MERGED, OTHER}:
            choice = client.peek("alert", unit=unit)
            pure = evaluate(PURE, "alert", unit)
            assert (choice.arm, choice.reason) == (pure.arm, Reason.SPLIT)
    assert pinned.asked == []


def test_an_excepted_unit_is_learned_after_its_first_answer(client: Client, pinned: Pinned) -> None:
    assert wait_for(lambda: settled(client))
    first = client.peek("alert", unit=MERGED)
    assert (first.arm, first.reason, first.rollout) == ("champion", Reason.PIN_UNKNOWN, "r-1")
    assert client.counts()["pins_unknown"] >= 1
    assert wait_for(lambda: client.peek("alert", unit=MERGED).reason is Reason.PINNED)
    assert client.peek("alert", unit=MERGED).arm == "challenger"


def test_prefetch_learns_before_the_first_answer(client: Client, pinned: Pinned) -> None:
    assert wait_for(lambda: settled(client))
    before = len(pinned.asked)
    client.prefetch(UNITS)
    assert wait_for(lambda: len(pinned.asked) == before + 2)
    assert sorted(pinned.asked[before:]) == sorted([MERGED, OTHER])
    assert wait_for(lambda: client.peek("alert", unit=MERGED).reason is Reason.PINNED)
    settled_by_service = client.peek("alert", unit=OTHER)
    assert (settled_by_service.arm, settled_by_service.reason) == ("challenger", Reason.SPLIT)


def test_exposures_say_what_was_known(client: Client, pinned: Pinned) -> None:
    assert wait_for(lambda: settled(client))
    client.assign("alert", unit=MERGED)
    assert client.flush(PATIENCE_SECONDS)
    (event,) = pinned.service.events
    assert (event["reason"], event["arm"]) == ("PIN_UNKNOWN", "champion")


def test_a_ramp_down_reaches_learned_units_and_asks_again(client: Client, pinned: Pinned) -> None:
    assert wait_for(lambda: settled(client))
    assert wait_for(lambda: client.peek("alert", unit=MERGED).reason is Reason.PINNED)
    pinned.service.publish(rules(enrolled_ppm=0, version=8))
    assert wait_for(lambda: client.ruleset_version == 8)
    assert wait_for(lambda: client.peek("alert", unit=MERGED).reason is Reason.NOT_ENROLLED)


def test_a_pin_beyond_todays_enrolment_holds_its_unit_out_of_the_split(
    client: Client, pinned: Pinned
) -> None:
    pinned.pin = Pin(allocation=1, arm="challenger", bucket=PPM - 1)
    half = rules(enrolled_ppm=PPM - 2, version=8)
    assert evaluate(half, "alert", MERGED).reason is Reason.SPLIT, "its own hash enrols it"
    pinned.service.publish(half)
    assert wait_for(lambda: client.ruleset_version == 8)
    assert wait_for(lambda: client.peek("alert", unit=MERGED).reason is Reason.NOT_ENROLLED)


def test_a_new_document_asks_about_its_new_units_alone(client: Client, pinned: Pinned) -> None:
    assert wait_for(lambda: client.peek("alert", unit=MERGED).reason is Reason.PINNED)
    new = UNITS[7]
    listed = sorted([*HASHES, keyed_hash("k", "departure", new)])
    pinned.side = json.dumps({"schema": 1, "key": "k", "units": listed}).encode()
    pinned.asked.clear()
    pinned.service.publish(rules(version=8, side=pinned.side))
    seen: set[Reason] = set()
    while client.ruleset_version != 8:
        seen.add(client.peek("alert", unit=MERGED).reason)
        seen.add(client.peek("alert", unit=UNITS[8]).reason)
    assert client.peek("alert", unit=MERGED).reason is Reason.PINNED
    assert client.peek("alert", unit=UNITS[8]).reason is Reason.SPLIT
    assert seen <= {Reason.PINNED, Reason.SPLIT}
    assert wait_for(lambda: client.peek("alert", unit=new).reason is Reason.PIN_UNKNOWN)
    assert wait_for(lambda: new in pinned.asked)
    assert MERGED not in pinned.asked


def test_what_was_learned_is_asked_again_after_a_minute() -> None:
    now, wanted = [0.0], []
    evaluator = Evaluator(rules().slots["alert"], 7)
    journal = Journal()

    def book(before: PinBook | None) -> PinBook:
        return PinBook(
            evaluator, lambda _, unit: wanted.append(unit), journal, before, clock=lambda: now[0]
        )

    first = book(None)
    first.document = read_side_document(SIDE)
    live = {"rollout": "r-1", "allocation": 1}
    first.learn(MERGED, {"arm": "challenger", "reason": "PINNED", **live})
    first.learn(OTHER, {"arm": "challenger", "reason": "SPLIT", **live})
    second = book(first)
    assert second.document is first.document
    assert second.evaluate(MERGED, None).arm == "challenger"
    assert second.evaluate(OTHER, None).reason is Reason.PIN_UNKNOWN  # perhaps it has one by now
    assert wanted == [OTHER]
    now[0] = 61.0
    assert second.evaluate(MERGED, None).reason is Reason.PINNED
    assert wanted == [OTHER, MERGED]


def test_without_its_document_every_split_is_uncertain_but_the_arm_stands(
    pinned: Pinned, make_client: MakeClient
) -> None:
    pinned.down = True
    client = make_client(pinned.service)
    assert client.wait_until_ready(PATIENCE_SECONDS)
    assert wait_for(lambda: client.states().get("pins") == "unavailable")
    for unit in UNITS[:20]:
        choice = client.peek("alert", unit=unit)
        assert (choice.arm, choice.reason) == (evaluate(PURE, "alert", unit).arm, "PIN_UNKNOWN")
    assert client.peek("quiet", unit="1").reason is Reason.NO_ROLLOUT
    pinned.down = False
    assert wait_for(lambda: settled(client))


@pytest.mark.parametrize("side", [b"", b"{}", SIDE + b" ", b'{"key": "k", "units": 5}'])
def test_a_document_the_ruleset_does_not_name_is_refused(
    side: bytes, pinned: Pinned, make_client: MakeClient
) -> None:
    pinned.side = side
    client = make_client(pinned.service)
    assert client.wait_until_ready(PATIENCE_SECONDS)
    assert wait_for(lambda: client.states().get("pins") == "unavailable")
    assert not settled(client)


def test_prefetch_without_exceptions_or_with_nonsense_does_nothing(
    service: Service, make_client: MakeClient
) -> None:
    client = make_client(service)
    assert client.wait_until_ready(PATIENCE_SECONDS)
    nonsense: Any = 5
    for units in (UNITS, [], nonsense):
        client.prefetch(units)
    assert not [path for _, path in service.requests if "exceptions" in path or "assign" in path]


def fetching(pinned: Pinned, go: threading.Event) -> tuple[PinFetcher, PinBook, Journal]:
    """A fetcher whose first connection waits for `go`, and a book that knows its document."""
    journal = Journal()

    def connect() -> Transport:
        assert go.wait(20)
        return Transport(pinned.service.url, KEY)

    fetcher = PinFetcher(connect, journal)
    book = PinBook(Evaluator(rules().slots["alert"], 7), fetcher.want, journal)
    book.document = read_side_document(SIDE)
    return fetcher, book, journal


def test_units_beyond_the_queue_are_not_held_and_asked_for_when_it_is_shorter(
    pinned: Pinned,
) -> None:
    go = threading.Event()
    fetcher, book, _ = fetching(pinned, go)
    for number in range(MOST_WANTED + 5):
        fetcher.want(book, f"u-{number}")
    book.document = None
    fetcher.want(book, None)
    assert len(fetcher._wanted) == len(fetcher._asked) == MOST_WANTED + 1
    go.set()
    assert wait_for(lambda: len(pinned.asked) == MOST_WANTED)
    assert wait_for(lambda: book.document is not None)
    assert not fetcher._asked
    late = f"u-{MOST_WANTED}"
    assert late not in pinned.asked
    fetcher.want(book, late)
    assert wait_for(lambda: late in pinned.asked)
    fetcher.stop()


def test_without_threads_the_answer_stands_and_the_pin_is_asked_for_later(
    pinned: Pinned, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    go.set()
    fetcher, book, journal = fetching(pinned, go)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        assert book.evaluate(MERGED, None).reason is Reason.PIN_UNKNOWN
        assert journal.states()["threads"] == "refused"
    assert book.evaluate(OTHER, None).reason is Reason.PIN_UNKNOWN
    assert wait_for(lambda: set(pinned.asked) == {MERGED, OTHER})
    assert wait_for(lambda: book.evaluate(MERGED, None).reason is Reason.PINNED)
    fetcher.stop()
