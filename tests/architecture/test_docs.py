"""Every command that the pages tell people to type works, and every link leads somewhere."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from controller.cli.main import build_parser
from controller.demo import command as demo
from tests.architecture.documented import ROOT, Block, Command, blocks, pages
from tests.running import ONE_WORKER, running

DOCUMENTED_URL = "http://127.0.0.1:8080"
PROGRAMS = {
    *("cat", "cd", "controller", "cp", "curl", "docker", "export", "git", "helm", "jq", "kubectl"),
    *("ls", "make", "mkdir", "mv", "pip", "python", "python3", "touch"),
}
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
PAGES = pages()
BLOCKS = [block for page in PAGES for block in blocks(page)]
COMMANDS = [(block, command) for block in BLOCKS for command in block.commands]
RUNNABLE = [page for page in PAGES if any(block.runs_here for block in blocks(page))]


def name_of(value: object) -> str:
    """A short name for a test's parameter."""
    if isinstance(value, Command):
        return " ".join(value.words[:3])
    return str(value.relative_to(ROOT)) if isinstance(value, Path) else str(value)


@pytest.mark.parametrize(("block", "command"), COMMANDS, ids=name_of)
def test_a_documented_command_exists(block: Block, command: Command) -> None:
    words = command.words
    if not words:
        return  # an assignment for the lines below it
    assert words[0] in PROGRAMS, f"{block}: unknown program {words[0]}"
    if words[0] == "make":
        asked = {word for word in words[1:] if "=" not in word}
        assert asked <= TARGETS, f"{block}: {command.text}"
    if words[0] == "controller":
        assert _complaint(words[1:]) == "", f"{block}: {command.text}"


def _complaint(arguments: list[str]) -> str:
    """What the real parser has against these arguments; nothing is carried out."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            build_parser((demo.add,)).parse_args(_until_a_pipe(arguments))
    except SystemExit as end:
        return said.getvalue() if end.code else ""
    return ""


def _until_a_pipe(words: list[str]) -> list[str]:
    ends = [i for i, word in enumerate(words) if word in {"|", ">", "&&", "||", ";", "&"}]
    return words[: min(ends, default=len(words))]


def test_a_block_that_is_run_elsewhere_is_run_there() -> None:
    for block in BLOCKS:
        if "elsewhere" not in block.marks:
            continue
        test = ROOT / block.marks["elsewhere"]
        assert test.is_file(), f"{block}: no {test}"
        for command in block.commands:
            verb = next((w for w in command.words[1:] if re.fullmatch(r"[a-z][a-z-]*", w)), "")
            said = re.search(rf"\b{re.escape(verb or command.words[0])}\b", test.read_text())
            assert said, f"{block}: {test} never says {verb}"


@pytest.mark.parametrize("written", PAGES, ids=name_of)
def test_every_link_leads_somewhere(written: Path) -> None:
    prose = re.sub(r"```.*?```", "", written.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        file = (written.parent / path).resolve() if path else written
        assert file.exists(), f"{written.name}: {target}"
        if anchor:
            assert anchor in _anchors(file), f"{written.name}: {target}"


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A live service with what a reader of the pages has at hand."""

    url: str
    folder: Path
    credentials: dict[str, Any]

    def shell(self, block: Block) -> str:
        """Run a block as the reader would; return what it printed."""
        program = (
            ["bash", "-euo", "pipefail"] if block.language != "python" else [sys.executable, "-"]
        )
        text = block.text
        if block.language == "console":
            text = "\n".join(command.text for command in block.commands)
        ran = subprocess.run(
            program,
            input=text.replace(DOCUMENTED_URL, self.url),
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert ran.returncode == 0, f"{block}: {ran.stdout}{ran.stderr}"
        return ran.stdout.replace(self.url, DOCUMENTED_URL)

    def environment(self) -> dict[str, str]:
        """The reader's shell: our commands on the path, the address and the key exported."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {
            **os.environ,
            "PATH": path,
            "CONTROLLER_URL": self.url,
            "CONTROLLER_TOKEN": self.credentials["operators"]["admin"]["token"],
            "CONTROLLER_KEY": self.credentials["keys"]["sdk"],
        }


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """`controller up` in an empty folder."""
    with running(tmp_path / "data", *ONE_WORKER) as up:
        yield Service(url=up.url, folder=tmp_path, credentials=up.credentials)


@pytest.mark.parametrize("written", RUNNABLE, ids=name_of)
def test_a_page_works_as_written(service: Service, written: Path) -> None:
    for block in blocks(written):
        if block.saved_as is not None:
            (service.folder / block.saved_as).write_text(block.text)
        if not block.runs_here:
            continue
        said = service.shell(block)
        for command in block.commands:
            for promised in filter(str.strip, command.output.splitlines()):
                pattern = ".*".join(re.escape(part) for part in promised.strip().split("..."))
                assert re.search(pattern, said), f"{block}: {promised!r} is not in\n{said}"
