"""Every error has one face in HTTP, and a page that says what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import controller.service.web.app  # noqa: F401 - every room with errors of its own is loaded by it
from controller.errors import ControllerError, IllegalTransition, Unauthenticated
from controller.service.http.problems import (
    every_error,
    problem_answer,
    problem_of,
    status_of,
    title_of,
)
from controller.service.http.refusals import MethodNotAllowed, RateLimited
from tests.web import Web

PAGES = Path(__file__).parents[3] / "docs" / "reference" / "problems"
ROOMS = ("controller.errors", "controller.service.")
"""Errors of other rooms stay inside their process and never reach HTTP."""
ERRORS = [kind for kind in every_error() if kind.__module__.startswith(ROOMS)]


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.code)
def test_every_code_has_a_page_with_its_status_and_advice(kind: type[ControllerError]) -> None:
    page = (PAGES / f"{kind.code}.md").read_text()
    assert page.startswith(f"# `{kind.code}`\n")
    assert f"Type `/problems/{kind.code}`, status {status_of(kind)}." in page
    assert len(page.partition("## What to do\n")[2].strip()) > 20


def test_no_page_is_left_over_and_the_list_is_complete() -> None:
    codes = {kind.code for kind in ERRORS}
    assert {page.stem for page in PAGES.glob("*.md")} - {"README"} == codes
    listed = re.findall(r"^\| \[`(\w+)`\]", (PAGES / "README.md").read_text(), re.MULTILINE)
    assert listed == sorted(codes)


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.code)
def test_every_error_says_something_and_maps_to_an_error_status(
    kind: type[ControllerError],
) -> None:
    assert 400 <= status_of(kind) <= 503
    assert len(title_of(kind)) > 10
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", kind.code)


def test_details_stand_beside_the_fields_of_the_standard_and_never_replace_them() -> None:
    error = IllegalTransition("A promoted rollout cannot start.", allowed=["undo"])
    error.details["status"] = 200
    document = problem_of(error, instance="/v1/rollouts/r").document()
    assert document["allowed"] == ["undo"]
    assert document["status"] == 409
    assert document["type"] == "/problems/illegal_transition"


def test_nothing_long_or_unprintable_is_echoed() -> None:
    problem = problem_of(ControllerError("x\x1b[31m\r\n" + "y" * 5000), instance="/")
    assert len(problem.detail) <= 400
    assert problem.detail.isprintable()


def test_headers_follow_from_the_status() -> None:
    limited = problem_answer(problem_of(RateLimited(retry_after=7), instance="/"))
    assert limited.headers["Retry-After"] == "7"
    unknown = problem_answer(problem_of(Unauthenticated(), instance="/"))
    assert unknown.headers["WWW-Authenticate"].startswith("Bearer")
    method = problem_answer(problem_of(MethodNotAllowed(allowed=["GET"]), instance="/"))
    assert method.headers["Allow"] == "GET"


def test_a_type_uri_can_be_followed(web: Web) -> None:
    answer = web.call("GET", "/problems/stale_version")
    assert (answer.json["status"], answer.json["code"]) == (412, "stale_version")
    assert web.call("GET", "/problems/nothing").status_code == 404
