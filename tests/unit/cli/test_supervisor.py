import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from controller.cli.supervisor import Child, StopAsked, Supervisor
from tests.processes import alive, wait_until


def sleeper() -> Child:
    return Child(
        name="sleeper",
        command=[sys.executable, "-c", "import time; time.sleep(60)"],
        environment=os.environ,
    )


def ticked(supervisor: Supervisor) -> bool:
    supervisor.tick()
    return True


def test_a_killed_child_is_started_again_after_a_pause() -> None:
    child = sleeper()
    supervisor = Supervisor(children=[child])
    supervisor.start()
    try:
        assert child.process is not None
        first = child.process.pid
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: not child.running, "it ended")
        supervisor.tick()
        assert not child.running
        wait_until(lambda: ticked(supervisor) and child.running, "it is back")
        assert child.process.pid != first
        assert child.restarts == 1
    finally:
        supervisor.stop()
    assert not child.running


def test_the_pause_doubles_while_a_child_keeps_dying() -> None:
    child = Child(
        name="broken", command=[sys.executable, "-c", "raise SystemExit(3)"], environment={}
    )
    child.pause = 0.01
    supervisor = Supervisor(children=[child])
    supervisor.start()
    wait_until(lambda: ticked(supervisor) and child.restarts >= 3, "three restarts")
    assert child.pause >= 0.08
    supervisor.stop()


def test_a_stop_asked_for_during_the_start_ends_the_start_and_the_watch() -> None:
    supervisor = Supervisor(children=[sleeper()])
    supervisor.go_on()
    supervisor.request_stop()
    with pytest.raises(StopAsked):
        supervisor.go_on()
    supervisor.run()
    assert not supervisor.children[0].running


def test_the_children_outlive_the_watch_until_they_are_stopped() -> None:
    """Whoever talks to them says goodbye in between."""
    child = sleeper()
    supervisor = Supervisor(children=[child])
    supervisor.start()
    supervisor.request_stop()
    try:
        supervisor.run()
        assert child.running
    finally:
        supervisor.stop()
    assert not child.running


def test_a_child_that_ignores_the_signal_is_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("controller.cli.supervisor.STOP_SECONDS", 0.5)
    deaf = tmp_path / "deaf"
    program = (
        "import pathlib, signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        " pathlib.Path(sys.argv[1]).touch(); time.sleep(60)"
    )
    stubborn = Child(
        name="stubborn",
        command=[sys.executable, "-c", program, str(deaf)],
        environment=os.environ,
    )
    supervisor = Supervisor(children=[stubborn])
    supervisor.start()
    wait_until(deaf.exists, "it ignores the signal")
    supervisor.stop()
    assert stubborn.process is not None
    assert stubborn.process.returncode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_a_child_dies_with_a_killed_supervisor() -> None:
    program = (
        "import os, sys, time\n"
        "from controller.cli.supervisor import Child, Supervisor\n"
        "child = Child(name='c', command=[sys.executable, '-c', 'import time; time.sleep(60)'],"
        " environment=os.environ)\n"
        "supervisor = Supervisor(children=[child])\n"
        "supervisor.start()\n"
        "print(child.process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        orphan = int(parent.stdout.readline())
        assert alive(orphan)
        parent.kill()
        parent.wait()
        wait_until(lambda: not alive(orphan), "it died with its parent")
