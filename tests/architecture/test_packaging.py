"""What is installed: locks that anyone can use anywhere, a wheel that holds all it needs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
JAVASCRIPT = ROOT / "tests" / "javascript"
RUNTIME, DEVELOPMENT = ROOT / "requirements.lock", ROOT / "requirements-dev.lock"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ADDRESS = re.compile(r"://|\b[\w-]+\.(com|dev|io|net|org)\b")


def pins(lock: Path) -> dict[str, set[str]]:
    """Versions pinned for each distribution; a marker may choose between two."""
    versions: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([a-z0-9-]+)==([^ ]+) ", lock.read_text(), re.MULTILINE):
        versions.setdefault(name, set()).add(version)
    return versions


def required_by(extra: str) -> list[Requirement]:
    """What an extra asks for, through the extras of ours that it names."""
    found = []
    for requirement in map(Requirement, PROJECT["optional-dependencies"][extra]):
        if requirement.name == PROJECT["name"]:
            for inner in sorted(requirement.extras):
                found += required_by(inner)
        else:
            found.append(requirement)
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built without the network by the back end that the lock files hold."""
    target = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", target],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return zipfile.ZipFile(next(target.glob("*.whl")))


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    """The wheel's METADATA file."""
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(wheel.read(name).decode())


@pytest.mark.parametrize("lock", [RUNTIME, DEVELOPMENT], ids=lambda lock: lock.name)
def test_a_lock_names_no_host(lock: Path) -> None:
    lines = [line for line in lock.read_text().splitlines() if "--hash" not in line]
    assert [line for line in lines if ADDRESS.search(line) or "/" in line] == []


@pytest.mark.parametrize("lock", [RUNTIME, DEVELOPMENT], ids=lambda lock: lock.name)
def test_every_pin_has_a_hash(lock: Path) -> None:
    entries = re.split(r"\n(?=[a-z])", lock.read_text().strip())
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize(("extra", "lock"), [("demo", RUNTIME), ("dev", DEVELOPMENT)])
def test_a_lock_satisfies_its_extra(extra: str, lock: Path) -> None:
    pinned = pins(lock)
    for requirement in required_by(extra):
        versions = pinned.get(canonicalize_name(requirement.name), set())
        assert versions, f"{requirement} is not locked: run `make lock`"
        assert all(requirement.specifier.contains(version) for version in versions), requirement


def test_both_locks_hold_the_build_back_end() -> None:
    assert "hatchling" in pins(RUNTIME).keys() & pins(DEVELOPMENT).keys()


def test_the_runtime_lock_is_a_part_of_the_development_lock() -> None:
    development = pins(DEVELOPMENT)
    assert {n: v for n, v in pins(RUNTIME).items() if development.get(n) != v} == {}


def test_the_javascript_lock_names_no_host_and_pins_every_package() -> None:
    asked = json.loads((JAVASCRIPT / "package.json").read_text())
    lock = json.loads((JAVASCRIPT / "package-lock.json").read_text())
    text = (JAVASCRIPT / "package-lock.json").read_text()
    assert ADDRESS.findall(text) == []
    root, *locked = lock["packages"].values()
    assert root["devDependencies"] == asked["devDependencies"]
    assert [
        version for version in asked["devDependencies"].values() if not version[0].isdigit()
    ] == []
    assert len(locked) >= len(asked["devDependencies"])
    assert [one for one in locked if not one["integrity"].startswith("sha512-")] == []


def test_the_base_install_requires_nothing(metadata: Message) -> None:
    requirements = [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]
    assert [r for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})] == []


def test_the_metadata_names_no_host(metadata: Message) -> None:
    headers = [f"{key}: {value}" for key, value in metadata.items()]
    assert [header for header in headers if ADDRESS.search(header)] == []


def test_the_wheel_holds_every_file_of_the_package(wheel: zipfile.ZipFile) -> None:
    packed = set(wheel.namelist())
    moved = {"controller": "controller", "migrations": "controller/_migrations"}
    tracked = [
        f"{moved[room]}/{path.relative_to(ROOT / room).as_posix()}"
        for room in moved
        for path in (ROOT / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    assert set(tracked) - packed == set()
    endings = {Path(name).suffix for name in packed}
    assert endings >= {".py", ".typed", ".html", ".css", ".js", ".gz"}


def test_the_wheel_holds_nothing_but_the_package(wheel: zipfile.ZipFile) -> None:
    assert {name.split("/")[0].split("-")[0] for name in wheel.namelist()} == {
        "controller",
        "rollout_controller",
    }
