"""The examples of docs/examples: started with python as their page says, on a running service.

Every customer's exposure, every prediction and every payment must be found in the service's ledger
exactly once, under the arm that the example answered with.
"""

from __future__ import annotations

import csv
import http.client
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance import flags
from tests.acceptance.ledger import Counted, ledger
from tests.architecture.documented import ROOT, blocks
from tests.processes import free_port
from tests.running import Running
from tests.storage.valkey import Valkey

EXAMPLES = ROOT / "docs" / "examples"
PAGE = ROOT / "docs" / "how-to" / "use-it-in-your-framework.md"
SLOT = "credit-score"
NAMES = ("flask", "fastapi", "django", "celery", "batch")
MARGIN = {
    "type": "mean",
    "direction": "increase",
    "outcome": "margin",
    "window_seconds": 3600,
    "baseline": {"mean": 20.0, "sd": 35.0},
}


@pytest.fixture(scope="module")
def scored(service: Running) -> Running:
    """A service whose slot `credit-score` splits every customer between two thresholds."""
    champion = {"name": "scorecard", "version": "7", "payload": {"threshold": 0.62}}
    challenger = {"name": "boosting", "version": "1", "payload": {"threshold": 0.55}}
    slot = {"unit": "customer", "champion": champion, "oec": {"metric": "margin", "mde": 6.0}}
    flags.put(service, "/v1/metrics/margin", MARGIN)
    flags.put(service, "/v1/policies/everybody", flags.EVERYBODY)
    flags.put(service, f"/v1/slots/{SLOT}", {**slot, "policy": "everybody"})
    flags.start_rollout(service, SLOT, challenger)
    return service


def environment(service: Running, folder: Path, **more: str) -> dict[str, str]:
    return {
        **os.environ,
        "CONTROLLER_URL": service.url,
        "CONTROLLER_KEY": service.sdk_key,
        "CONTROLLER_STATE_DIR": str(folder / "state"),
        **more,
    }


@contextmanager
def started(
    name: str, command: Sequence[str], service: Running, folder: Path, **more: str
) -> Iterator[Path]:
    """An example's own command in its own folder; stopped as a person stops it. Its log."""
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *command], cwd=EXAMPLES / name,
            env=environment(service, folder, PYTHONDONTWRITEBYTECODE="1", **more),
            stdout=output, stderr=output,
        )  # fmt: skip
    try:
        yield log
        process.send_signal(signal.SIGINT)  # Ctrl-C
        process.wait(30)
    finally:
        print(log.read_text()[-3000:])
        process.kill()
        process.wait()


def post(port: int, path: str, document: dict[str, Any]) -> Any:
    """The answer's document; a server that is just starting is asked again."""
    ends = time.monotonic() + 30
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        headers = {"Content-Type": "application/json"}
        try:
            connection.request("POST", path, json.dumps(document), headers)
            answer = connection.getresponse()
            body = answer.read()
        except ConnectionRefusedError:
            assert time.monotonic() < ends
            time.sleep(0.1)
        else:
            assert answer.status in {200, 204}, body
            return json.loads(body) if body else None
        finally:
            connection.close()


@dataclass(frozen=True, slots=True)
class Customers:
    """Who applies through one example, and how much each of them pays."""

    name: str
    count: int = 30
    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat())

    @property
    def units(self) -> list[str]:
        return [f"{self.name}-{number}" for number in range(self.count)]

    def application(self, number: int) -> dict[str, Any]:
        unit = self.units[number]
        income = 1000.0 * (40 + number)
        return {"application": f"a-{unit}", "customer": unit, "plan": "free", "income": income}

    def payment(self, number: int) -> dict[str, Any]:
        first = 1000 * NAMES.index(self.name)
        application = f"a-{self.units[number]}"
        paid = {"number": first + number, "application": application, "margin": number / 2}
        return {**paid, "at": self.at}

    def counted(self, service: Running, kind: str) -> list[Counted]:
        """What the ledger has of them, by unit or by application."""
        mine = set(self.units) | {f"a-{unit}" for unit in self.units}
        return [
            event
            for event in ledger(service, slot=SLOT)
            if event.kind == kind and (event.unit in mine or event.ref in mine)
        ]

    def until(self, service: Running, kind: str, count: int) -> list[Counted]:
        """The same, once there are so many; a moment later there must be no more."""
        service.until(lambda: len(self.counted(service, kind)) >= count, f"{count} of {kind}")
        time.sleep(0.5)
        found = self.counted(service, kind)
        assert len(found) == count, (kind, len(found))
        return found


def check_ledger(service: Running, customers: Customers, arms: dict[str, str]) -> None:
    """Each customer once in each kind of event, in the arm that the example said."""
    for kind in ("exposure", "prediction"):
        found = customers.until(service, kind, customers.count)
        assert {event.unit: event.arm for event in found} == arms
    paid = customers.until(service, "outcome", customers.count)
    assert sorted(event.value or 0.0 for event in paid) == [
        number / 2 for number in range(customers.count)
    ]
    assert {event.name for event in paid} == {"margin"}
    problems = service.call("GET", "/v1/events/problems", service.admin_key).json["problems"]
    assert {problem["code"] for problem in problems} <= {"unresolved_ref", "duplicate"}


SERVERS: dict[str, Callable[[str], list[str]]] = {
    "flask": lambda port: ["-m", "flask", "--app", "app", "run", "--port", port],
    "fastapi": lambda port: ["-m", "uvicorn", "app:app", "--port", port],
    "django": lambda port: [
        *("-m", "django", "runserver", "--noreload", "--settings", "settings"),
        *("--pythonpath", ".", port),
    ],
}


@pytest.mark.parametrize("name", list(SERVERS))
def test_a_web_frameworks_example_reports_everything_once(
    name: str, scored: Running, tmp_path: Path
) -> None:
    customers = Customers(name)
    port = free_port()
    arms: dict[str, str] = {}
    with started(name, SERVERS[name](str(port)), scored, tmp_path):
        for number, unit in enumerate(customers.units):
            asked = customers.application(number)
            answer = post(port, "/applications", asked)
            threshold = {"champion": 0.62, "challenger": 0.55}[answer["arm"]]
            assert answer["granted"] == (asked["income"] / 100_000 >= threshold)
            arms[unit] = answer["arm"]
            for _ in range(2):  # the second is a repeat, and counts once
                post(port, "/payments", customers.payment(number))
    assert set(arms.values()) == {"champion", "challenger"}
    check_ledger(scored, customers, arms)


def test_the_celery_example_reports_what_its_children_did(scored: Running, tmp_path: Path) -> None:
    customers = Customers("celery")
    send = """
        import json, sys, tasks
        for asked in json.loads(sys.argv[1]): tasks.decide.delay(**asked)
        for paid in json.loads(sys.argv[2]): tasks.paid.delay(**paid)
    """
    with Valkey() as broker:
        address = {"BROKER_URL": broker.url.replace("unix://", "redis+socket://")}
        command = ["-m", "celery", "-A", "tasks", "worker", "--pool", "prefork", "-c", "2"]
        with started("celery", [*command, "-l", "info"], scored, tmp_path, **address) as log:
            every = range(customers.count)
            subprocess.run(
                [
                    *(sys.executable, "-c", textwrap.dedent(send)),
                    json.dumps([customers.application(number) for number in every]),
                    json.dumps([customers.payment(number) for number in every]),
                ],
                cwd=EXAMPLES / "celery", env=environment(scored, tmp_path / "sender", **address),
                timeout=60, check=True,
            )  # fmt: skip
            done = 2 * customers.count
            scored.until(lambda: log.read_text().count(" succeeded in ") == done, "every task")
    arms = {unit: arm_of(scored, unit) for unit in customers.units}
    check_ledger(scored, customers, arms)


def arm_of(service: Running, unit: str) -> str:
    asked = {"slot": SLOT, "unit": unit, "expose": False}
    return str(service.call("POST", "/v1/assign", service.sdk_key, json_body=asked).json["arm"])


def test_the_batch_example_decides_a_table_and_exposes_its_rows(
    scored: Running, tmp_path: Path
) -> None:
    customers = Customers("batch", count=400)
    table, decisions = tmp_path / "customers.csv", tmp_path / "decisions.csv"
    with table.open("w") as file:
        writer = csv.writer(file)
        writer.writerow(["customer", "income"])
        writer.writerows([unit, 150 * number] for number, unit in enumerate(customers.units))
    done = subprocess.run(
        [sys.executable, "score.py", table, decisions],
        cwd=EXAMPLES / "batch", env=environment(scored, tmp_path),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with decisions.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["customer"] for row in rows] == customers.units
    thresholds = {"champion": 0.62, "challenger": 0.55}
    for row in rows:
        assert row["granted"] == str(float(row["score"]) >= thresholds[row["arm"]])
    exposed = customers.until(scored, "exposure", customers.count)
    assert {event.unit: event.arm for event in exposed} == {
        row["customer"]: row["arm"] for row in rows
    }


# ---------------------------------------------------------------- the page


def test_the_page_shows_every_example_as_it_is() -> None:
    shown = {block.text.rstrip() for block in blocks(PAGE)}
    sources = sorted(EXAMPLES.rglob("*.py"))
    assert {path.parent.name for path in sources} == set(NAMES)
    for source in sources:
        assert source.read_text().rstrip() in shown, f"{source} is not on the page as it is"
