"""The chart's pods, started here: the very command, settings, secrets and probes of the render.

There is no cluster, so what Kubernetes would do is done by hand: resolve the ConfigMap and the
Secret into an environment that holds nothing else, mount empty directories, probe, send SIGTERM.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from controller.storage.redis.embedded import EmbeddedValkey
from tests.chart.helm import Document, Helm
from tests.processes import free_ports

pytestmark = pytest.mark.postgres

PROGRAMS = Path(sys.executable).parent


@dataclass(slots=True, kw_only=True)
class Pod:
    """One workload's container as a process of this machine."""

    workload: Document
    environment: Mapping[str, str]
    folder: Path
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def container(self) -> Document:
        """The one container."""
        (container,) = self.workload["spec"]["template"]["spec"]["containers"]
        assert isinstance(container, dict)
        return container

    @property
    def output(self) -> str:
        """Everything that the process has said."""
        return (self.folder / "output").read_text(errors="replace")

    def start(self) -> subprocess.Popen[bytes]:
        """Start the container's command in an empty working directory."""
        (self.folder / "root").mkdir()
        with (self.folder / "output").open("wb") as output:
            self.process = subprocess.Popen(
                [*self.container["command"], *self.container["args"]],
                env=dict(self.environment),
                cwd=self.folder / "root",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        return self.process

    def probe(self, name: str) -> int:
        """Ask what the kubelet would ask; 0 if nobody listens."""
        request = self.container[f"{name}Probe"]["httpGet"]
        (port,) = (p for p in self.container["ports"] if p["name"] == request["port"])
        url = f"http://127.0.0.1:{port['containerPort']}{request['path']}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code
        except (urllib.error.URLError, ConnectionError):
            return 0

    def wait_for(self, name: str, *, seconds: float) -> None:
        """Wait until a probe succeeds, as long as the kubelet would."""
        assert self.process is not None
        until = time.monotonic() + seconds
        while self.probe(name) != 200:
            assert self.process.poll() is None, f"it ended:\n{self.output}"
            assert time.monotonic() < until, f"{name} probe says {self.probe(name)}:\n{self.output}"
            time.sleep(0.1)

    def stop(self) -> float:
        """Send SIGTERM; return the seconds until it ended by itself."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(self.grace_seconds)
        return time.monotonic() - began

    @property
    def grace_seconds(self) -> float:
        """What is left of the grace period after the preStop hook."""
        grace = self.workload["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        return float(grace - self.container["lifecycle"]["preStop"]["sleep"]["seconds"])

    def end(self) -> None:
        """Leave no process behind, whatever happened."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def loaded_files(pid: int) -> set[str]:
    """Shared libraries that a process and its children hold in memory (Linux)."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    files = {line.split(maxsplit=5)[5] for line in lines if line.count("/")}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        files |= loaded_files(int(child))
    return files


def environment_of(
    workload: Document, settings: Mapping[str, str], secret: Mapping[str, str], folder: Path
) -> dict[str, str]:
    """The container's environment, with its two mounts as folders of this test."""
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    environment = dict(settings) if "envFrom" in container else {}
    for entry in container["env"]:
        reference = entry.get("valueFrom", {}).get("secretKeyRef")
        environment[entry["name"]] = secret[reference["key"]] if reference else entry["value"]
    mounted = {mount["mountPath"]: folder / mount["name"] for mount in container["volumeMounts"]}
    for path in mounted.values():
        path.mkdir(parents=True)
    here = {key: str(mounted.get(value, value)) for key, value in environment.items()}
    if "CONTROLLER_HOST" in here:
        here["CONTROLLER_HOST"] = "127.0.0.1"  # a pod's network is its own, this machine's is not
    return here | {"PATH": f"{PROGRAMS}:{os.defpath}", "TMPDIR": str(mounted["/tmp"])}


@pytest.fixture
def pods(helm: Helm, postgres_url: str, tmp_path: Path) -> Iterator[dict[str, Pod]]:
    """The release's pods on free ports, with a real PostgreSQL and a real Valkey; not started."""
    web, stream, health = free_ports(3)
    documents = helm.documents(
        {"web.port": web, "stream.port": stream, "worker.healthPort": health, "web.workers": 1}
    )
    (settings,) = (document["data"] for document in documents if document["kind"] == "ConfigMap")
    valkey = EmbeddedValkey(tmp_path / "valkey")
    valkey.start()
    secret = {
        "DATABASE_URL": postgres_url,
        "REDIS_URL": valkey.url,
        "SECRET_KEY": secrets.token_hex(32),
    }
    found: dict[str, Pod] = {}
    for workload in (d for d in documents if d["kind"] in {"Deployment", "Job"}):
        name = workload["spec"]["template"]["spec"]["containers"][0]["name"]
        folder = tmp_path / name
        environment = environment_of(workload, settings, secret, folder)
        found[name] = Pod(workload=workload, environment=environment, folder=folder)
    try:
        yield found
    finally:
        for pod in found.values():
            pod.end()
        valkey.stop()


def test_the_release_migrates_starts_answers_its_probes_and_stops_in_time(
    pods: dict[str, Pod],
) -> None:
    migration = pods.pop("migrate")
    deadline = migration.workload["spec"]["activeDeadlineSeconds"]
    assert migration.start().wait(min(60, deadline)) == 0, migration.output
    for pod in pods.values():
        pod.start()
    for pod in pods.values():
        startup = pod.container["startupProbe"]
        pod.wait_for("startup", seconds=startup["periodSeconds"] * startup["failureThreshold"])
        pod.wait_for("liveness", seconds=10)
        pod.wait_for("readiness", seconds=30)
    if sys.platform == "linux":
        web = pods["web"].process
        assert web is not None
        heavy = re.compile(r"/site-packages/(pandas|sklearn|statsmodels|scipy/stats)/")
        files = loaded_files(web.pid)
        assert any("/site-packages/" in file for file in files)
        assert [file for file in files if heavy.search(file)] == []
    for name, pod in pods.items():
        seconds = pod.stop()
        assert pod.process is not None
        assert pod.process.returncode == 0, f"{name} after {seconds:.1f} s:\n{pod.output}"
    for pod in (migration, *pods.values()):
        assert list((pod.folder / "root").iterdir()) == []  # its root file system is read-only


def test_a_pod_without_its_migration_says_so(pods: dict[str, Pod]) -> None:
    web = pods["web"]
    process = web.start()
    until = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < until:
        assert web.probe("readiness") != 200
        time.sleep(0.2)
    assert "migrat" in web.output
