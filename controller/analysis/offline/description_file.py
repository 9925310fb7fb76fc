"""The description of a table as a file: YAML (JSON is YAML) that holds plain values only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from controller.errors import InvalidInput
from controller.plain_yaml import read_yaml

MOST_BYTES = 1_000_000


def read_document(spec: Any) -> Any:
    """The description as plain values, from a YAML or JSON file or as it stands.

    Raises
    ------
    InvalidInput
        If the file cannot be read, is no YAML, or uses anchors (which can grow without bound), a
        key twice or a tag of its own.
    """
    if not isinstance(spec, str | Path):
        return spec
    path = Path(spec)
    try:
        raw = path.read_bytes()
        if len(raw) > MOST_BYTES:
            raise InvalidInput(f"{path}: has more than {MOST_BYTES:,} bytes.", field="spec")
        return read_yaml(raw.decode("utf-8"), text_keys=False)
    except RecursionError as problem:
        raise InvalidInput(f"{path}: is nested too deeply.", field="spec") from problem
    except (OSError, ValueError) as problem:
        raise InvalidInput(f"{path}: {' '.join(str(problem).split())}.", field="spec") from problem
