"""What the pages tell people to type: fenced blocks of README.md and docs/, as values.

A block of `bash`, `console` or `python` is run by `test_docs.py`, in the order of its page, against
a live service. Where that cannot be, the block's opening line says so, and the page still renders:

    ```bash elsewhere="tests/acceptance/test_up.py"     a test of its own runs these commands
    ```bash needs="a cluster"                           nobody can run it here; it is checked by eye
    ```yaml file="metric.yaml"                          the reader saves this under that name

In a `console` block the lines after `$ ` are commands and the others their output, which must
appear; `...` stands for anything.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
LANGUAGES = ("bash", "console", "python")
_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>.*)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command and the output that the page promises for it."""

    text: str
    output: str = ""

    @property
    def words(self) -> list[str]:
        """The command's words as the shell splits them, without leading assignments."""
        words = shlex.split(self.text.replace("\\\n", ""), comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0], re.DOTALL):
            words.pop(0)
        return words


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block."""

    page: Path
    line: int
    language: str
    text: str
    marks: dict[str, str] = field(default_factory=dict)

    @property
    def runs_here(self) -> bool:
        """Whether `test_docs.py` runs it."""
        return self.language in LANGUAGES and not self.marks

    @property
    def saved_as(self) -> str | None:
        """The name under which the reader saves it, if it is a file."""
        return self.marks.get("file")

    @property
    def commands(self) -> list[Command]:
        """The shell commands in it; a Python block has none."""
        if self.language == "console":
            return list(_dialogue(self.text))
        if self.language == "bash":
            return [Command(text=text) for text in _logical_lines(self.text)]
        return []

    def __str__(self) -> str:
        """Where it stands."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """Every page that people read."""
    return [
        path
        for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
        if path.exists()
    ]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order.

    Raises
    ------
    ValueError
        If a fence is left open or its marks cannot be read.
    """
    found: list[Block] = []
    opened: tuple[int, str, str] | None = None
    body: list[str] = []
    for number, line in enumerate(page.read_text().splitlines(), start=1):
        fence = _FENCE.match(line)
        if opened is None and fence:
            opened, body = (number, fence["info"].strip(), fence["indent"]), []
        elif opened is not None and fence and not fence["info"].strip():
            language, marks = _read_info(opened[1])
            text = "\n".join(body) + "\n"
            found.append(
                Block(page=page, line=opened[0], language=language, text=text, marks=marks)
            )
            opened = None
        elif opened is not None:
            body.append(line.removeprefix(opened[2]))
    if opened is not None:
        raise ValueError(f"{page}:{opened[0]}: the fence is never closed")
    return found


def _read_info(info: str) -> tuple[str, dict[str, str]]:
    language, *rest = shlex.split(info) or [""]
    marks = dict(word.split("=", 1) for word in rest if "=" in word)
    if len(marks) != len(rest) or marks.keys() - {"elsewhere", "needs", "file"}:
        raise ValueError(f"cannot read the marks of ```{info}")
    return language, marks


def _logical_lines(text: str) -> Iterator[str]:
    """Commands of a script: continued lines and quotes that span lines belong together."""
    held = ""
    for line in text.splitlines():
        held += line
        if line.endswith("\\") or not _closed(held):
            held += "\n"
            continue
        if held.strip() and not held.lstrip().startswith("#"):
            yield held.strip()
        held = ""
    if held.strip():
        raise ValueError(f"the command never ends: {held}")


def _closed(text: str) -> bool:
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return False
    return True


def _dialogue(text: str) -> Iterator[Command]:
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        taken = 1
        while lines[taken - 1].endswith("\\") or not _closed("\n".join(lines[:taken])):
            taken += 1
        yield Command(text="\n".join(lines[:taken]), output="\n".join(lines[taken:]).strip())
