"""Without the extras the command says in one sentence what to install."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from controller import __main__ as entry

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("argument", ["--help", "up"])
def test_the_base_install_names_the_extra_and_shows_no_traceback(argument: str) -> None:
    start = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from controller.__main__ import main; "
    found = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"{start}sys.exit(main())", argument],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 2
    assert found.stdout == ""
    (said,) = found.stderr.splitlines()
    assert 'pip install ".[server]"' in said


def test_every_package_of_an_extra_is_known() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    modules: dict[str, set[str]] = {}
    for module, distributions in packages_distributions().items():
        for name in distributions:
            modules.setdefault(canonicalize_name(name), set()).add(module)
    for extra in ("server", "analysis", "demo"):
        for wanted in map(Requirement, extras[extra]):
            if wanted.name != "rollout-controller":
                assert modules[canonicalize_name(wanted.name)] & set(entry.EXTRAS), wanted.name


def test_a_module_that_no_extra_brings_is_a_defect() -> None:
    broken = "import sys; sys.modules['controller.cli.main'] = None"
    found = subprocess.run(
        [sys.executable, "-c", f"{broken}; from controller.__main__ import main; main()"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 1
    assert "ModuleNotFoundError: import of controller.cli.main halted" in found.stderr
