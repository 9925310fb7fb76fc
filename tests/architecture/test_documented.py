"""The reader of documented commands reads what a person would type."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.architecture.documented import Block, Command, blocks

PAGE = """
Text with `make nothing` in it.

```bash
# a comment
make demo ARGS="--headless \\
  --seed 1"

curl -d '{
  "a": 1
}' http://127.0.0.1:8080/v1/x
```

1. A list:

   ```console needs="a cluster"
   $ KUBECONFIG=x kubectl get pods
   NAME ... READY
   $ controller doctor
   ```

```json
{"not": "a command"}
```

```python elsewhere="tests/sdk/test_client.py"
print(1)
```
"""


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A page with every kind of block."""
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    return path


def test_the_blocks_of_a_page_are_found_in_order(written: Path) -> None:
    found = blocks(written)
    assert [block.language for block in found] == ["bash", "console", "json", "python"]
    assert [block.runs_here for block in found] == [True, False, False, False]
    assert found[1].marks == {"needs": "a cluster"}
    assert PAGE.splitlines()[found[0].line - 1] == "```bash"


def test_a_command_may_span_lines(written: Path) -> None:
    make, curl = blocks(written)[0].commands
    assert make.words == ["make", "demo", "ARGS=--headless   --seed 1"]
    assert curl.words[:2] == ["curl", "-d"]
    assert curl.words[-1] == "http://127.0.0.1:8080/v1/x"


def test_a_dialogue_holds_commands_and_their_output(written: Path) -> None:
    block: Block = blocks(written)[1]
    assert block.commands == [
        Command(text="KUBECONFIG=x kubectl get pods", output="NAME ... READY"),
        Command(text="controller doctor"),
    ]
    assert block.commands[0].words == ["kubectl", "get", "pods"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("```bash\nmake", "never closed"),
        ("```bash maybe\nmake\n```", "cannot read the marks"),
        ('```bash skip="lazy"\nmake\n```', "cannot read the marks"),
    ],
)
def test_a_page_that_cannot_be_read_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(ValueError, match=complaint):
        blocks(page)
