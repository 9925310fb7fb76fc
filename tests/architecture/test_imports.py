"""Imports run downhill, and what must stay light stays light."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts of the `pyproject.toml` in `folder` against the package beside it."""
    return subprocess.run(
        [LINT_IMPORTS, "--no-cache", "--no-logo"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def modules_after(statement: str, *options: str) -> set[str]:
    """Names of the modules that a fresh interpreter holds after `statement`, beyond its own."""
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); before = set(sys.modules)\n{statement}\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    ran = subprocess.run(
        [sys.executable, *options, "-c", program], capture_output=True, text=True, check=True
    )
    return set(ran.stdout.split())


@pytest.fixture(scope="module")
def seeded_copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with one module in it that a test may fill with a forbidden import."""
    folder = tmp_path_factory.mktemp("seeded")
    shutil.copy(ROOT / "pyproject.toml", folder)
    shutil.copytree(
        ROOT / "controller",
        folder / "controller",
        ignore=lambda _, names: [n for n in names if "." in n and not n.endswith(".py")],
    )
    return folder


def test_every_import_contract_holds() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("module", "statement", "complaint"),
    [
        ("stats/seeded.py", "import controller.flow", "controller.stats is not allowed to import"),
        ("rollout/seeded.py", "import controller.audit", "controller.rollout is not allowed"),
        ("service/api/seeded.py", "import controller.service.ui", "controller.service.api is not"),
        ("flow/seeded.py", "import sqlalchemy", "controller.flow is not allowed to import"),
        ("experiments/seeded.py", "import numpy", "controller.experiments is not allowed"),
        ("homeless.py", "", "controller.homeless"),
    ],
)
def test_a_seeded_import_is_refused(
    seeded_copy: Path, module: str, statement: str, complaint: str
) -> None:
    seeded = seeded_copy / "controller" / module
    seeded.write_text(statement + "\n")
    try:
        result = lint_imports(seeded_copy)
    finally:
        seeded.unlink()
    assert result.returncode == 1
    assert complaint in " ".join(result.stdout.split())


def test_the_sdk_runs_without_any_installed_package() -> None:
    loaded = modules_after("import controller.sdk; controller.sdk.Client", "-S")
    foreign = {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names
    assert foreign == {"controller"}
    rooms = {name.split(".")[1] for name in loaded if name.startswith("controller.")}
    assert rooms <= {"sdk", "assignment", "events", "experiments", "errors"}


def test_the_web_process_never_loads_the_heavy_statistics() -> None:
    loaded = modules_after(
        "import importlib, pkgutil, controller.service as service\n"
        "for module in pkgutil.walk_packages(service.__path__, 'controller.service.'):\n"
        "    if module.name.split('.')[2] in {'web', 'api', 'ui', 'http'}:\n"
        "        importlib.import_module(module.name)\n"
    )
    assert {"flask", "controller.service.web", "controller.service.api"} <= loaded
    assert loaded.isdisjoint({"statsmodels", "pandas", "scipy.stats", "sklearn"})
