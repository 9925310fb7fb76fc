"""One client across forks, spawns and kills: every event exactly once, nobody hangs."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.sdk.service import KEY, Service

ROOT = Path(__file__).resolve().parents[2]


def run(code: str, service: Service, tmp_path: Path, **environment: str) -> str:
    script = tmp_path / "application.py"
    script.write_text(textwrap.dedent(code))
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=30,
        check=False, env=env(service, tmp_path, **environment),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def env(service: Service, tmp_path: Path, **more: str) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": f"{ROOT}:{tmp_path}",
        "CONTROLLER_URL": service.url,
        "CONTROLLER_KEY": KEY,
        "CONTROLLER_STATE_DIR": str(tmp_path / "state"),
        **more,
    }


def units(service: Service) -> Counter[str]:
    return Counter(event["unit"] for event in service.events)


def test_events_left_in_the_queue_are_sent_at_exit(service: Service, tmp_path: Path) -> None:
    run(
        """
        from controller.sdk import Client
        client = Client.from_env(flush_seconds=60)
        for n in range(700): client.track("cost", unit=f"{n}")
        """,
        service, tmp_path,
    )  # fmt: skip
    assert units(service) == Counter(str(n) for n in range(700))


def test_a_process_that_ends_during_an_outage_leaves_its_events_to_the_next(
    service: Service, tmp_path: Path
) -> None:
    code = """
        from controller.sdk import Client
        client = Client.from_env()
        client.track("cost", unit="UNIT")
        """
    service.fault = lambda handler: handler.answer(503, b"")
    run(code.replace("UNIT", "first"), service, tmp_path)
    service.fault = lambda _: False
    run(code.replace("UNIT", "second") + "\n        client.flush()\n", service, tmp_path)
    assert units(service) == {"first": 1, "second": 1}


def test_a_forked_child_starts_afresh_and_the_parent_sends_its_own(
    service: Service, tmp_path: Path
) -> None:
    run(
        """
        import os
        from controller.sdk import Client
        client = Client.from_env(flush_seconds=0.2)
        assert client.wait_until_ready(60)
        for n in range(50): client.track("cost", unit=f"parent-{n}")
        for child in range(4):
            if os.fork() == 0:
                assert client.assign("alert", unit=f"child-{child}").reason == "SPLIT"
                for n in range(50): client.track("cost", unit=f"child-{child}-{n}")
                client.close()
                os._exit(0)
        for _ in range(4): assert os.wait()[1] == 0
        """,
        service, tmp_path,
    )  # fmt: skip
    seen = units(service)
    assert set(seen.values()) == {1}
    assert len(seen) == 50 + 4 * 51


def test_a_fork_while_every_thread_works_never_hangs(service: Service, tmp_path: Path) -> None:
    run(
        """
        import os, threading, time
        from controller.sdk import Client
        client = Client.from_env(flush_seconds=0.01)
        assert client.wait_until_ready(60)
        stop = threading.Event()
        def work(name):
            n = 0
            while not stop.is_set():
                client.assign("alert", unit=f"{name}-{n}"); n += 1
                client.track("cost", unit=f"{name}-{n}")
                time.sleep(0.001)
        threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(4)]
        for thread in threads: thread.start()
        for child in range(20):
            if os.fork() == 0:
                client.assign("alert", unit=f"only-{child}")
                client.track("cost", unit=f"only-{child}")
                assert client.flush(60)
                os._exit(0)
            assert os.wait()[1] == 0
        stop.set()
        for thread in threads: thread.join()
        """,
        service, tmp_path,
    )  # fmt: skip
    assert sum(name.startswith("only-") for name in units(service)) == 20


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing_workers_deliver_before_they_leave(
    method: str, service: Service, tmp_path: Path
) -> None:
    run(
        f"""
        import multiprocessing
        from controller.sdk import Client

        def work(client, n):
            assert client.assign("alert", unit=f"worker-{{n}}").arm
            client.track("cost", unit=f"worker-{{n}}")

        if __name__ == "__main__":
            client = Client.from_env(flush_seconds=60)
            client.track("cost", unit="main")
            context = multiprocessing.get_context("{method}")
            workers = [context.Process(target=work, args=(client, n)) for n in range(3)]
            for worker in workers: worker.start()
            for worker in workers: worker.join()
            assert [worker.exitcode for worker in workers] == [0, 0, 0]
        """,
        service, tmp_path,
    )  # fmt: skip
    outcomes = Counter(e["unit"] for e in service.events if e["type"] == "outcome")
    assert outcomes == {"main": 1, "worker-0": 1, "worker-1": 1, "worker-2": 1}


def test_kill_9_loses_at_most_the_last_interval(service: Service, tmp_path: Path) -> None:
    script = tmp_path / "application.py"
    script.write_text(
        textwrap.dedent(
            """
            import time
            from controller.sdk import Client
            client = Client.from_env(flush_seconds=0.1)
            n = 0
            while True:
                client.track("cost", unit=f"{n}"); n += 1
                if n % 100 == 0: time.sleep(0.01)
                if n == 5000: print("there", flush=True)
            """
        )
    )
    service.fault = lambda handler: handler.command == "POST" and handler.answer(503, b"")
    with subprocess.Popen(
        [sys.executable, str(script)], env=env(service, tmp_path), stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"there\n"
        time.sleep(1.0)
        process.kill()
        process.wait()
    service.fault = lambda _: False
    run(
        """
        from controller.sdk import Client
        client = Client.from_env()
        client.track("cost", unit="next")
        assert client.flush(60)
        """,
        service, tmp_path,
    )  # fmt: skip
    seen: Any = units(service)
    assert set(seen.values()) == {1}
    assert {str(n) for n in range(5000)} <= seen.keys()


def test_every_thread_is_a_daemon_with_a_name(service: Service, tmp_path: Path) -> None:
    out = run(
        """
        import threading
        from controller.sdk import Client
        client = Client.from_env(flush_seconds=0.05)
        assert client.wait_until_ready(60)
        client.assign("alert", unit="1")
        assert client.flush(60)
        names = sorted(t.name for t in threading.enumerate() if t.name.startswith("controller"))
        assert all(t.daemon for t in threading.enumerate() if t.name.startswith("controller"))
        print(names)
        """,
        service, tmp_path,
    )  # fmt: skip
    assert out.strip() == "['controller-delivery', 'controller-notes', 'controller-refresh']"
