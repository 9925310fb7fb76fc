"""The service as a person starts it, with a slot to kill and a rollout that writes pins."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.cli.client import ProblemAnswer, ServiceClient
from controller.flow.actors import MACHINE, Role
from controller.flow.people import add_operator, make_token
from controller.storage.sql.database import Database
from controller.storage.sql.unit_of_work import SqlStore
from tests.processes import descendants, wait_until
from tests.running import Running, running

BUSY = "busy"
SWITCHED = "switched"
COST = {
    "type": "mean",
    "direction": "decrease",
    "outcome": "cost",
    "window_seconds": 60,
    "baseline": {"mean": 1.0, "sd": 1.0},
}
POLICY = {
    "ramp": [{"enrolled": 1.0, "dwell": "1h"}],
    "oec": {"horizon": 10_000_000},
    "approvals": {"promote": {"quorum": 1}},
}
TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Stage:
    """A running service and how to measure its processes."""

    up: Running
    rollout: str

    @property
    def port(self) -> int:
        """Of web."""
        return self.up.port

    @property
    def key(self) -> str:
        """What SDKs use."""
        return self.up.sdk_key

    def pids(self, name: str) -> list[int]:
        """A part's process and those below it: of web, the master and its workers."""
        pid = self.up.children()[name]
        return [pid, *descendants(pid)]

    def memory(self, name: str) -> float:
        """Resident megabytes of a part."""
        return sum(_resident(pid) for pid in self.pids(name)) / 1024

    def processor_seconds(self, name: str) -> float:
        """User and system time a part has used so far."""
        return sum(_ticks(pid) for pid in self.pids(name)) / TICK


@contextmanager
def staged(folder: Path, **environment: str) -> Iterator[Stage]:
    """Two web processes, a slot at rest, and a slot whose rollout enrols everybody."""
    with running(folder / "data", env={"CONTROLLER_LOG_LEVEL": "WARNING", **environment}) as up:
        yield Stage(up, _prepare(up))


def _prepare(up: Running) -> str:
    admin = up.as_operator()
    admin.call("PUT", "/v1/metrics/cost", body=COST)
    admin.call("PUT", "/v1/policies/long", body=POLICY)
    admin.call("PUT", f"/v1/slots/{SWITCHED}", body=_slot())
    admin.call("PUT", f"/v1/slots/{BUSY}", body=_slot(oec={"metric": "cost", "mde": 0.1}))
    author = _author(up)
    asked = {
        "slot": BUSY,
        "policy": "long",
        "challengers": [{"name": "boost", "version": "2", "payload": 2, "authors": ["dora"]}],
        "hypothesis": "the benchmark enrols everybody",
    }
    rollout = str(author.call("POST", "/v1/rollouts", body=asked)[0]["metadata"]["uid"])
    for verb in ("submit", "start"):
        wait_until(lambda verb=verb: _acted(author, rollout, verb), verb)  # type: ignore[misc]
    path = f"/v1/rollouts/{rollout}"
    wait_until(lambda: author.get(path)["status"]["state"] == "Ramping", "the rollout ramps")
    key = up.with_key("sdk")
    asked = {"slot": BUSY, "unit": "the first"}
    wait_until(lambda: key.call("POST", "/v1/assign", body=asked)[0]["rollout"], "it assigns")
    return rollout


def _acted(author: ServiceClient, rollout: str, verb: str) -> bool:
    path = f"/v1/rollouts/{rollout}"
    _, etag = author.call("GET", path)
    try:
        author.call("POST", f"{path}/actions/{verb}", headers={"If-Match": etag or ""})
    except ProblemAnswer as problem:
        # Held by a guard that time opens, or moved by the machine between the two calls.
        if problem.status not in {409, 412, 422}:
            raise
        return problem.status == 409
    return True


def _author(up: Running) -> ServiceClient:
    """Somebody who may ask for a rollout, and somebody else who may approve it."""
    database = Database(f"sqlite:///{up.data_dir / 'main.db'}")
    try:
        store = SqlStore(database)
        add_operator(store, "ann", [Role.APPROVER], actor=MACHINE)
        add_operator(store, "carl", [Role.AUTHOR, Role.OPERATOR], actor=MACHINE)
        return ServiceClient(up.url, make_token(store, "carl", actor=MACHINE))
    finally:
        database.dispose()


def _slot(**fields: Any) -> dict[str, Any]:
    champion = {"name": "logistic", "version": "1", "payload": 1}
    return {"unit": "departure", "champion": champion, "observe": 0.0, "policy": "long", **fields}


def settle(seconds: float = 2.0) -> None:
    """Let what was just started or stopped come to rest."""
    time.sleep(seconds)


def load_average() -> str:
    """The machine's, over one minute, to stand beside a figure."""
    return f"{os.getloadavg()[0]:.1f}"


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _resident(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return 0
    return int(text.partition("VmRSS:")[2].split()[0]) if "VmRSS:" in text else 0


def _ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0
    return int(fields[11]) + int(fields[12])
