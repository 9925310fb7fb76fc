"""`controller demo`: the service, its people and its applications, together on this machine."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from controller.cli.client import ProblemAnswer, ServiceClient
from controller.cli.exits import Exit
from controller.cli.supervisor import StopAsked, Supervisor
from controller.cli.up import quieter, running, settings_from
from controller.demo.operators import approve_open, ask, define, existing, submit
from controller.demo.people import introduce, seed_salts
from controller.demo.progress import (
    Progress,
    Standing,
    closing,
    lost_events,
    standings,
    write_report,
)
from controller.demo.scenario import (
    APPROVERS,
    AUTHOR,
    HEADLESS_DECIDING,
    HEADLESS_YEAR_SECONDS,
    YEAR_SECONDS,
    rollouts,
)
from controller.errors import SetupFailed
from controller.settings import Settings

if TYPE_CHECKING:  # loaded beside the start of the service, which does not wait for scikit-learn
    from controller.demo.desks import Desks, Material

LOOK_SECONDS: Final = 1.0


def run_demo(options: argparse.Namespace) -> int:
    """Run the demo until it has ended (headless), or until it is stopped.

    Parameters
    ----------
    options : Namespace
        The options of `controller up`, and `headless`, `auto_approve`, `report` (path or None),
        `seed` (or None), `max_seconds` (or None).

    Returns
    -------
    int
        0, or 1 if a rollout was still on its way after `max_seconds` or events were lost.

    Raises
    ------
    SetupFailed
        With a sentence saying what stands in the way and what to do.
    """
    began = time.monotonic()
    demo = None
    with _own_data_dir(options) as settings, ThreadPoolExecutor(1) as trainer:
        material = trainer.submit(_load_material)
        with suppress(StopAsked), running(settings) as service:
            demo = _Demo(service.supervisor, service.settings, options, began)
            service.wait_until_ready()
            demo.open(material.result())
            demo.watch()
    return Exit.OK if demo is None else demo.conclude()


def _load_material() -> Material:
    from controller.demo.desks import Material

    return Material.load()


@contextmanager
def _own_data_dir(options: argparse.Namespace) -> Iterator[Settings]:
    """The settings; without --data-dir on a directory that ends with the demo."""
    settings = quieter(settings_from(options), watched=True)
    if options.data_dir is not None:
        yield settings
        return
    directory = Path(tempfile.mkdtemp(prefix="controller-demo-"))
    try:
        yield replace(settings, data_dir=directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


class _Demo:
    """A running service with its people and its applications."""

    def __init__(
        self, supervisor: Supervisor, settings: Settings, options: argparse.Namespace, began: float
    ) -> None:
        self._supervisor, self._settings = supervisor, settings
        self._options, self._began = options, began
        self._credentials = introduce(settings)
        self._progress = Progress(lambda: time.monotonic() - began)
        self._ids: Mapping[str, str] = {}
        self._found: list[Standing] = []
        self._desks: Desks | None = None
        self._events: Mapping[str, int] = {}
        self._look_at = 0.0
        self._code = Exit.OK

    def open(self, material: Material) -> None:
        """Define what counts, ask for the rollouts, tell the way in, and open the desks."""
        from controller.demo.desks import open_desks

        self._supervisor.go_on()
        wanted = rollouts(material.models)
        self._ids = existing(self._as("admin"), [one.slot for one in wanted])
        if not self._ids:
            quick = self._options.headless and self._options.auto_approve
            deciding = HEADLESS_DECIDING if quick else None
            define(self._as("admin"), wanted, deciding=deciding)
            self._ids = ask(self._as(AUTHOR), wanted)
            if self._options.seed is not None:
                seed_salts(self._settings, self._ids, self._options.seed)
            for rollout in self._ids.values():
                submit(self._as(AUTHOR), rollout)
        self._supervisor.go_on()
        self._announce()
        self._desks = open_desks(
            material,
            url=self._settings.url,
            key=self._credentials["keys"]["sdk"],
            data_dir=self._settings.data_dir,
            year_seconds=HEADLESS_YEAR_SECONDS if self._options.headless else YEAR_SECONDS,
            again=not self._options.headless,
        )

    def watch(self) -> None:
        """Keep everything running; headless until every rollout has ended or time is up."""
        self._supervisor.on_tick = self._tick
        try:
            self._supervisor.run()
        finally:
            self.close()
        if self._options.report is not None:
            seconds = time.monotonic() - self._began
            write_report(self._options.report, self._found, seconds=seconds, events=self._events)

    def conclude(self) -> int:
        """Say how it ended, once everything has stopped; the exit code."""
        if self._found:
            self._progress.note(
                closing(self._found, report=self._options.report, events=self._events)
            )
        return Exit.FAILURE if lost_events(self._events) else self._code

    def close(self) -> None:
        """Close the desks, before the service that they talk to is stopped by who started it."""
        if self._desks is not None:
            self._desks.close()
            self._events = self._desks.counts()
            self._desks = None
            self._progress.end()

    def _tick(self) -> None:
        """Look every second; ask for the end when there is nothing left to wait for."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            self._look()
        ended = bool(self._found) and all(one.ended for one in self._found)
        late = self._options.max_seconds is not None and (
            now - self._began > self._options.max_seconds
        )
        if late or (ended and self._options.headless):
            self._code = Exit.OK if ended else Exit.FAILURE
            self.close()
            self._supervisor.request_stop()

    def _look(self) -> None:
        """Read where everything stands; a service that is being restarted is asked again later."""
        if self._desks is None:
            return
        self._desks.check()
        try:
            if self._options.auto_approve:
                approve_open([self._as(name) for name in APPROVERS])
            self._found = standings(self._as("admin"), self._ids, self._found)
        except (SetupFailed, ProblemAnswer) as problem:
            self._progress.note(f"the service does not answer just now: {problem}")
            return
        desks = self._desks
        self._progress.show(
            desks.day.isoformat(), desks.served, self._found, later=desks.later_season
        )

    def _as(self, name: str) -> ServiceClient:
        token: str = self._credentials["operators"][name]["token"]
        return ServiceClient(self._settings.url, token)

    def _announce(self) -> None:
        """Where to go and as whom."""
        people: dict[str, Any] = self._credentials["operators"]
        year = HEADLESS_YEAR_SECONDS if self._options.headless else YEAR_SECONDS
        waits = (
            f"{' and '.join(APPROVERS)} will decide by themselves."
            if self._options.auto_approve
            else "Once the evidence suffices, often\n  before December, a promotion waits for you: "
            f"sign in as {' and '.join(APPROVERS)}."
        )
        lines = [
            "",
            f"  Console  {self._settings.url}",
            f"  Status   {self._settings.url}/v1/rollouts",
            "",
            *(
                f"  {name:<6} {people[name]['password']:<22} {role}"
                for name, role in (
                    (AUTHOR, "asked for the rollouts, so cannot approve them"),
                    *((name, "may approve a promotion; two are needed") for name in APPROVERS),
                    ("admin", "runs the service"),
                )
            ),
            "",
            f"  April to December 2013 pass in {year:.0f} seconds. {waits}",
            "  Ctrl-C ends the demo.",
            "",
        ]
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
