"""What the demo says while it runs, and the report it leaves behind."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from shutil import get_terminal_size
from typing import Any, Final, TextIO

from controller.cli.client import ServiceClient, segment
from controller.rollout.states import State, Verdict

ENDED: Final = frozenset(
    {State.PROMOTED, State.ROLLED_BACK, State.CANCELLED, State.SUPERSEDED, State.BAKING}
)
"""States in which a rollout of the demo asks for nothing more."""
PROMOTED: Final = frozenset({State.PROMOTING, State.BAKING, State.PROMOTED})

LATER: Final = (
    "December is over; a few flights keep coming so that the promotion can be watched "
    "(the date begins again at April)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One rollout as the report tells it."""

    slot: str
    id: str
    challenger: str
    state: str
    verdict: str
    units: int
    looks: int
    reason: str

    @property
    def ended(self) -> bool:
        """Whether it is terminal or baking."""
        return State(self.state) in ENDED


def standings(
    reader: ServiceClient, rollouts: Mapping[str, str], before: Sequence[Standing] = ()
) -> list[Standing]:
    """Every rollout of the demo, read through the status API.

    Parameters
    ----------
    rollouts : mapping of slot to rollout id
    before : sequence of Standing
        The standings read last: a bake begins its own evidence, the report keeps what decided.
    """
    known = {one.slot: one for one in before}
    return [
        standing(slot, reader.get(f"/v1/rollouts/{segment(rollout)}"), known.get(slot))
        for slot, rollout in rollouts.items()
    ]


def standing(slot: str, document: Mapping[str, Any], before: Standing | None = None) -> Standing:
    """What the report keeps of a status document."""
    metadata, spec, status = document["metadata"], document["spec"], document["status"]
    challenger, verdict = spec["challengers"][0], status["verdict"]
    found = Standing(
        slot=slot,
        id=str(metadata["uid"]),
        challenger=f"{challenger['name']} {challenger['version']}",
        state=str(status["state"]),
        verdict=str(verdict["value"]),
        units=_units(spec, status),
        looks=int(verdict["look"]),
        reason=str(verdict["reason"]),
    )
    if State(found.state) not in PROMOTED or before is None:
        return found
    if State(before.state) in PROMOTED:
        return replace(before, state=found.state)
    return replace(before, state=found.state, verdict=str(Verdict.PROMOTE), reason=found.reason)


def _units(spec: Mapping[str, Any], status: Mapping[str, Any]) -> int:
    """Complete units of the metric that decides, in both arms."""
    deciding = [one for one in status["metrics"] if one["key"] == spec["oec"]["metric"]]
    return sum(int(arm["n"]) for one in deciding for arm in one["arms"].values())


def write_report(
    path: Path, found: Sequence[Standing], *, seconds: float, events: Mapping[str, int]
) -> None:
    """Write the JSON report: how every rollout stands, and what became of the events."""
    document = {
        "rollouts": [asdict(one) for one in found],
        "seconds": round(seconds, 1),
        "events": dict(events),
    }
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def lost_events(events: Mapping[str, int]) -> int:
    """Events that never counted: refused, invalid, or given up on their way.

    Parameters
    ----------
    events : mapping of str to int
        As the SDK counts them.
    """
    fine = ("events_delivered", "events_waiting")
    return sum(
        number for name, number in events.items() if name.startswith("events_") and name not in fine
    )


def closing(found: Sequence[Standing], *, report: Path | None, events: Mapping[str, int]) -> str:
    """How it ended, in one sentence: verdicts, the report file, and events lost."""
    ended = ", ".join(f"{one.slot} {one.verdict} ({one.state})" for one in found)
    lost = lost_events(events)
    told = f"{lost:,} LOST, so no verdict above is reliable" if lost else "none lost"
    written = f"; report in {report}" if report is not None else ""
    return f"{ended}; {events.get('events_delivered', 0):,} events delivered, {told}{written}."


class Progress:
    """One line that changes on a terminal, and a line that stays whenever something happened.

    Parameters
    ----------
    stream : text stream
        Where it is said; messages belong on stderr.
    clock : callable
        Seconds since the demo was started.
    """

    def __init__(self, clock: Callable[[], float], stream: TextIO | None = None) -> None:
        self._clock = clock
        self._stream = sys.stderr if stream is None else stream
        self._later = False
        self._said: dict[str, tuple[str, str]] = {}

    def show(
        self, day: str, served: int, found: Sequence[Standing], *, later: bool = False
    ) -> None:
        """Tell where the application and its rollouts stand; `later` once December is over."""
        if later and not self._later:
            self._later = True
            self.note(LATER)
        for one in found:
            said = (one.state, one.verdict)
            if self._said.get(one.slot) != said:
                self._said[one.slot] = said
                why = f" ({one.reason})" if one.reason else ""
                self.note(f"{day}  {one.slot:<18} {one.state:<12} {one.verdict}{why}")
        if self._stream.isatty():
            judged = ", ".join(f"{one.slot} {one.units:,}" for one in found)
            line = f"{day}  {served:,} flights served; complete units: {judged}"
            self._stream.write(f"\r\x1b[K{line[: get_terminal_size().columns - 1]}")
            self._stream.flush()

    def note(self, text: str) -> None:
        """Say something that stays."""
        clear = "\r\x1b[K" if self._stream.isatty() else ""
        self._stream.write(f"{clear}{self._clock():5.0f} s  {text}\n")
        self._stream.flush()

    def end(self) -> None:
        """Leave the changing line."""
        if self._stream.isatty():
            self._stream.write("\n")
