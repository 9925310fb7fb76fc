"""The description of a table as a file: YAML (JSON is YAML) that holds plain values only."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from controller.errors import InvalidInput

MOST_BYTES = 1_000_000
_TIMESTAMP = "tag:yaml.org,2002:timestamp"


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
    import yaml

    path = Path(spec)
    try:
        raw = path.read_bytes()
        if len(raw) > MOST_BYTES:
            raise InvalidInput(f"{path}: has more than {MOST_BYTES:,} bytes.", field="spec")
        loader = _plain_loader()
        return yaml.load(raw.decode("utf-8"), Loader=loader)  # noqa: S506 - safe, and narrower
    except RecursionError as problem:
        raise InvalidInput(f"{path}: is nested too deeply.", field="spec") from problem
    except (OSError, ValueError, yaml.YAMLError) as problem:
        raise InvalidInput(f"{path}: {' '.join(str(problem).split())}.", field="spec") from problem


@cache
def _plain_loader() -> Any:
    """Made at the first need: YAML is loaded late, as everything a table alone needs."""
    import yaml

    class Plain(yaml.SafeLoader):
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("anchors and aliases are not allowed")
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            found = super().construct_mapping(node, deep=deep)
            if len(found) < len(node.value):
                place = node.start_mark.line + 1
                raise yaml.YAMLError(f"line {place}: a key of this object stands twice")
            return found

    # A date is text, as it would be in JSON: arms and columns may be named by dates.
    Plain.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in known if tag != _TIMESTAMP]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    return Plain
