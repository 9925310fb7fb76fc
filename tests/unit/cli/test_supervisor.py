import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.cli.supervisor import Child, StopAsked, Supervisor

pytestmark = pytest.mark.serial


def wait_for(condition: Callable[[], object], seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.02)


def sleeper() -> Child:
    return Child(
        name="sleeper",
        command=[sys.executable, "-c", "import time; time.sleep(60)"],
        environment=os.environ,
    )


def ticked(supervisor: Supervisor) -> bool:
    supervisor.tick()
    return True


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_a_killed_child_is_started_again_after_a_pause() -> None:
    child = sleeper()
    supervisor = Supervisor(children=[child])
    supervisor.start()
    try:
        assert child.process is not None
        first = child.process.pid
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: not child.running)
        supervisor.tick()
        assert not child.running
        wait_for(lambda: ticked(supervisor) and child.running)
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
    wait_for(lambda: ticked(supervisor) and child.restarts >= 3)
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


def test_a_child_that_ignores_the_signal_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.cli.supervisor.STOP_SECONDS", 0.5)
    stubborn = Child(
        name="stubborn",
        command=[
            sys.executable,
            "-c",
            "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)",
        ],
        environment=os.environ,
    )
    supervisor = Supervisor(children=[stubborn])
    supervisor.start()
    time.sleep(0.5)
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
        wait_for(lambda: not alive(orphan))
