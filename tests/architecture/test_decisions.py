"""The records of decisions: listed as they are headed, and nothing leans on absent pages."""

from __future__ import annotations

import re

import pytest

from tests.architecture.documented import ROOT

FOLDER = ROOT / "docs" / "decisions"
RECORDS = sorted(FOLDER.glob("[0-9]*.md"))
LISTED = dict(
    re.findall(
        r"^\| \[\d+\]\((\S+\.md)\) \| (.+) \|$", (FOLDER / "README.md").read_text(), re.MULTILINE
    )
)


def test_every_record_is_listed_once_in_its_order() -> None:
    assert list(LISTED) == [record.name for record in RECORDS]


@pytest.mark.parametrize("name", LISTED)
def test_a_record_is_headed_as_it_is_listed_and_says_where_it_stands(name: str) -> None:
    heading, _, body = (FOLDER / name).read_text().partition("\n")
    assert heading == f"# {name[:4]}: {LISTED[name]}"
    assert re.match(r"\nStatus: (accepted|superseded by \[\d{4}\]\(\S+\))", body), name
    assert {"## Context", "## Decision", "## Consequences"} <= set(body.splitlines()), name


def test_no_page_and_no_docstring_leans_on_a_document_that_is_not_here() -> None:
    leaning = re.compile(r"\b(DESIG[N]|CONTRAC[T])\b")
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for folder in ("controller", "docs", "tests", "migrations", "helm")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in {".py", ".md", ".yaml", ".html"} and "node_modules" not in path.parts
        for match in leaning.finditer(path.read_text())
    ]
    assert found == []
