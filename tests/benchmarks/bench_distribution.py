"""How fast a change reaches SDKs, and what a crash of the stream process costs.

The service runs as `controller up` starts it: two web processes, stream, worker, embedded Valkey.
1,000 streams are open from this process, each with a ticket of its own; another process offers a
fixed rate of `/v1/assign` whose answers write pins and exposures; a third runs the real SDK.

- kill: from the moment the kill is sent, and from its 200, to the note at each stream; and until
  `assign` of a real SDK answers KILLED. `--fetch` lets every stream fetch the ruleset on each note,
  as 1,000 SDK processes of one machine would.
- poll: the same for real SDKs whose stream cannot be reached, at their default poll.
- storm: kill -9 of the stream process; until all streams are back with the SDK's own back-off.

    python -m tests.benchmarks.bench_distribution [kill poll storm] [--streams 1000] [--rate 500]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from http.client import HTTPConnection
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from controller.assignment.choice import Reason
from controller.sdk import Client
from tests.benchmarks.load import Asked, Load, assignment
from tests.benchmarks.stage import BUSY, SWITCHED, Stage, load_average, percentile, staged
from tests.crowd import Crowd

PARTS = ("kill", "poll", "storm")
NOTE_BAR_MS, POLL_BAR_SECONDS, STORM_BAR_SECONDS = 250.0, 13.0, 30.0
POLLING_CLIENTS = 20
STORMS, CHURNS = 3, 20
PROBE_SECONDS = 0.0005
STEADY_SECONDS = 21.0  # after which the supervisor forgives an earlier death


@dataclass(slots=True)
class Report:
    """Lines for people, figures for a file, and which bars were missed."""

    figures: dict[str, Any] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)

    def spread(
        self, name: str, seconds: Sequence[float], *, bar: float | None = None, share: float = 0.99
    ) -> None:
        """Percentiles of one thing in milliseconds, against a bar at `share` of them."""
        figures = {
            "n": len(seconds),
            "p50": round(1000 * percentile(seconds, 0.5), 1),
            "p99": round(1000 * percentile(seconds, 0.99), 1),
            "max": round(1000 * max(seconds), 1),
        }
        self.say(name, figures, unit="ms")
        if bar is not None and 1000 * percentile(seconds, share) > bar:
            self.missed.append(name)

    def say(self, name: str, figures: dict[str, Any], *, unit: str = "") -> None:
        """One line."""
        self.figures[name] = figures | {"load_average": load_average()}
        shown = "  ".join(f"{key} {value}" for key, value in figures.items())
        print(f"{name:<44} {shown} {unit}  (load {load_average()})", flush=True)


# ---------------------------------------------------------------- helpers in their own processes


@dataclass(frozen=True, slots=True)
class Killed:
    """When the request was sent and when its 200 had come."""

    sent: float
    answered: float


class Aside:
    """A function in a process of its own, asked through a pipe."""

    def __init__(self, serve: Callable[..., None], *arguments: Any) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, *arguments), daemon=True)
        self._process.start()

    def send(self, question: Any) -> None:
        """Ask."""
        self._pipe.send(question)

    async def answer(self) -> Any:
        """The answer, without holding up the streams of this process."""
        return await asyncio.to_thread(self._pipe.recv)

    def end(self) -> None:
        """End it."""
        self._pipe.send(None)
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()


@contextmanager
def aside(serve: Callable[..., None], *arguments: Any) -> Iterator[Aside]:
    """An `Aside` that ends with the block."""
    made = Aside(serve, *arguments)
    try:
        yield made
    finally:
        made.end()


def _switch(pipe: Connection, port: int, token: str) -> None:
    """Kills and lifts, and says when."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Authorization": f"Bearer {token}"}
    while (method := pipe.recv()) is not None:
        connection.close()
        connection.connect()
        sent = time.monotonic()
        connection.request(method, f"/v1/slots/{SWITCHED}/kill", headers=headers)
        answer = connection.getresponse()
        answered = time.monotonic()
        answer.read()
        assert answer.status in {200, 204}, answer.status
        pipe.send(Killed(sent, answered))


def _probe(pipe: Connection, url: str, key: str, folder: str, clients: int) -> None:
    """Real SDKs: when does each answer with the wanted reason?"""
    logging.getLogger("controller").setLevel(logging.ERROR)
    made = [Client(url, key, state_dir=f"{folder}/sdk-{number}") for number in range(clients)]
    pipe.send(all(client.wait_until_ready(60) for client in made))
    while (wanted := pipe.recv()) is not None:
        seen: dict[int, float] = {}
        while len(seen) < len(made):
            for number, client in enumerate(made):
                if number in seen:
                    continue
                if client.assign(SWITCHED, unit="unit").reason is Reason(wanted):
                    seen[number] = time.monotonic()
            time.sleep(PROBE_SECONDS)
        pipe.send(list(seen.values()))
    for client in made:
        client.close()


# ---------------------------------------------------------------- kill


async def kills(stage: Stage, folder: str, options: argparse.Namespace, report: Report) -> None:
    """Notes at every stream, and a real SDK's first KILLED."""
    crowd = Crowd(stage.up.url, stage.key, options.streams, refetches=options.fetch)
    token = str(stage.up.credentials["operators"]["admin"]["token"])
    with ExitStack() as stack:
        switch = stack.enter_context(aside(_switch, stage.port, token))
        probe = stack.enter_context(aside(_probe, stage.up.url, stage.key, folder, 1))
        assert await probe.answer()
        async with crowd.gathered(spread_seconds=5):
            await crowd.all_open(60)
            load = stack.enter_context(_offered(stage, options.rate))
            await asyncio.sleep(2)
            notes = [await _one_kill(crowd, switch, probe, options) for _ in range(options.kills)]
            asked = load.stop() if load is not None else None
    _report_kills(report, notes, asked, options)


@dataclass(frozen=True, slots=True)
class _Round:
    killed: Killed
    arrivals: list[float]
    adopted: list[float]
    effective: float


async def _one_kill(
    crowd: Crowd, switch: Aside, probe: Aside, options: argparse.Namespace
) -> _Round:
    probe.send(Reason.KILLED.value)
    switch.send("POST")
    killed: Killed = await switch.answer()
    (effective,) = await probe.answer()
    version, arrivals = await _arrived(crowd, crowd.arrivals)
    adopted = (await _arrived(crowd, crowd.adopted))[1] if crowd.refetches else []
    probe.send(Reason.NO_ROLLOUT.value)
    switch.send("DELETE")
    await switch.answer()
    await probe.answer()
    await _arrived(crowd, crowd.adopted if crowd.refetches else crowd.arrivals, above=version)
    crowd.arrivals.clear()
    crowd.adopted.clear()
    await asyncio.sleep(0.5)
    return _Round(killed, arrivals, adopted, effective)


async def _arrived(
    crowd: Crowd, heard: dict[int, list[float]], *, above: int = 0
) -> tuple[int, list[float]]:
    """The version that every member has heard of, and when each did."""
    async with asyncio.timeout(20):
        while True:
            for version, times in heard.items():
                if version > above and len(times) >= len(crowd.members):
                    return version, times
            await asyncio.sleep(0.005)


def _report_kills(
    report: Report, rounds: Sequence[_Round], asked: Asked | None, options: argparse.Namespace
) -> None:
    if asked is not None:
        report.say("requests meanwhile", asdict(asked) | {"asked_for": options.rate})
    report.spread("kill: sent to answered", [r.killed.answered - r.killed.sent for r in rounds])
    since_sent = [at - r.killed.sent for r in rounds for at in r.arrivals]
    since_answer = [at - r.killed.answered for r in rounds for at in r.arrivals]
    report.spread("kill: sent to note at each stream", since_sent, bar=NOTE_BAR_MS)
    report.spread("kill: answered to note at each stream", since_answer)
    effective = [r.effective - r.killed.sent for r in rounds]
    report.spread("kill: sent to KILLED by a real SDK", effective)
    if options.fetch:
        adopted = [at - r.killed.sent for r in rounds for at in r.adopted]
        report.spread("kill: sent to fetched by each client", adopted)


@contextmanager
def _offered(stage: Stage, rate: float) -> Iterator[Load | None]:
    with Load(assignment(stage.port, stage.key, BUSY), rate) if rate else nullcontext() as load:
        yield load


# ---------------------------------------------------------------- poll


async def polls(stage: Stage, folder: str, options: argparse.Namespace, report: Report) -> None:
    """Real SDKs with their own poll, where the stream's address leads nowhere."""
    token = str(stage.up.credentials["operators"]["admin"]["token"])
    seconds: list[float] = []
    with (
        aside(_switch, stage.port, token) as switch,
        aside(_probe, stage.up.url, stage.key, folder, POLLING_CLIENTS) as probe,
        _offered(stage, options.rate) as load,
    ):
        assert await probe.answer()
        for method, reason in [("POST", Reason.KILLED), ("DELETE", Reason.NO_ROLLOUT)] * 2:
            probe.send(reason.value)
            switch.send(method)
            killed: Killed = await switch.answer()
            seconds += [at - killed.sent for at in await probe.answer()]
        asked = load.stop() if load is not None else None
    if asked is not None:
        report.say("requests meanwhile (poll)", asdict(asked))
    report.spread(
        "polling only: sent to effective in a real SDK",
        seconds,
        bar=1000 * POLL_BAR_SECONDS,
        share=1.0,
    )


# ---------------------------------------------------------------- storm


async def storms(stage: Stage, folder: str, options: argparse.Namespace, report: Report) -> None:
    """kill -9 of the stream process under all streams, then streams that merely come and go."""
    crowd = Crowd(stage.up.url, stage.key, options.streams)
    with _offered(stage, options.rate) as load:
        async with crowd.gathered(spread_seconds=5):
            await crowd.all_open(60)
            _say_memory(report, "memory before", stage)
            for number in range(1, options.storms + 1):
                await asyncio.sleep(STEADY_SECONDS)
                await _one_storm(stage, crowd, report, number)
                _say_memory(report, f"memory after storm {number}", stage)
        asked = load.stop() if load is not None else None
    if asked is not None:
        report.say("requests meanwhile (storm)", asdict(asked))
    for number in range(1, options.churns + 1):
        again = Crowd(stage.up.url, stage.key, options.streams)
        async with again.gathered(spread_seconds=1):
            await again.all_open(60)
        await asyncio.sleep(1)
        _say_memory(report, f"memory after leaving, {number}", stage)


async def _one_storm(stage: Stage, crowd: Crowd, report: Report, number: int) -> None:
    tickets, fetched = sum(member.tickets for member in crowd.members), crowd.fetched
    crowd.refused.clear()
    killed_at = time.monotonic()
    os.kill(stage.up.children()["stream"], signal.SIGKILL)
    async with asyncio.timeout(60):
        while crowd.open:  # noqa: ASYNC110 - the kernel closes them
            await asyncio.sleep(0.005)
    await crowd.all_open(60)
    back = [member.opened_at[-1] - killed_at for member in crowd.members]
    report.spread(
        f"storm {number}: killed to stream open again",
        back,
        bar=1000 * STORM_BAR_SECONDS,
        share=1.0,
    )
    await asyncio.sleep(3)
    counts = {
        "tickets": sum(member.tickets for member in crowd.members) - tickets,
        "rulesets_fetched": crowd.fetched - fetched,
        "refusals": dict(crowd.refused),
    }
    report.say(f"storm {number}: what it asked of web", counts)


def _say_memory(report: Report, name: str, stage: Stage) -> None:
    parts = ("web", "stream", "worker")
    report.say(name, {part: round(stage.memory(part), 1) for part in parts}, unit="MB")


# ---------------------------------------------------------------- the run


def main() -> int:
    """Run the parts asked for; exit 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=500, help="requests a second; 0 for none")
    parser.add_argument("--fetch", action="store_true", help="every stream fetches on every note")
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--storms", type=int, default=STORMS)
    parser.add_argument("--churns", type=int, default=CHURNS, help="times that all come and go")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"there is no part {min(unknown)!r}")
    report = Report()
    for name in options.parts or PARTS:
        # A port nobody listens on: the redirect leads there, the connection is refused.
        environment = {"CONTROLLER_STREAM_URL": "http://127.0.0.1:1"} if name == "poll" else {}
        with tempfile.TemporaryDirectory() as folder, staged(Path(folder), **environment) as stage:
            work = {"kill": kills, "poll": polls, "storm": storms}[name]
            asyncio.run(work(stage, folder, options, report))
    if options.json:
        options.json.write_text(json.dumps(report.figures, indent=2))
    for name in report.missed:
        print(f"missed: {name}")
    return 1 if report.missed else 0


if __name__ == "__main__":
    sys.exit(main())
