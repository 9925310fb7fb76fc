"""The web and stream processes stay light: no statsmodels, pandas or scipy.stats."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
SCRIPT = """
import pathlib, sys, tempfile
from controller.flow.actors import Scope, Role
from tests.web import serving
with tempfile.TemporaryDirectory() as folder, serving(pathlib.Path(folder)) as web:
    web.define()
    for name in ("ann", "bob"):
        web.operator(name, Role.APPROVER)
    carl = web.operator("carl", Role.AUTHOR, Role.OPERATOR)
    asked = {"slot": "late", "traffic": 1000}
    assert web.call("POST", "/v1/plans", web.keys[Scope.READ], json=asked).status_code == 200
    asked = {"slot": "late", "challengers": [{"name": "boost", "version": "2"}]}
    made = web.call("POST", "/v1/rollouts", carl, json=asked)
    path = made.headers["Location"] + "/actions/submit"
    done = web.call("POST", path, carl, headers={"If-Match": made.headers["ETag"]})
    assert done.status_code == 200, done.data
    assert web.call("POST", "/v1/assign", web.keys[Scope.EVALUATE],
                    json={"slot": "late", "unit": "u"}).status_code == 200
"""
HEAVY = {"statsmodels", "pandas", "scipy.stats", "sklearn", "matplotlib"}


def loaded_by(script: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{script}\nimport sys\nprint(*sorted(sys.modules), sep='\\n')"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return set(done.stdout.split())


def test_web_plans_submits_and_assigns_without_the_heavy_libraries() -> None:
    assert loaded_by(SCRIPT) & HEAVY == set()


def test_the_stream_process_loads_no_database_and_no_numbers() -> None:
    modules = loaded_by("import controller.service.stream.server")
    assert modules & (HEAVY | {"numpy", "scipy", "sqlalchemy", "flask"}) == set()
