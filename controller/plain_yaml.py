"""YAML that JSON could have said: what people write into definitions, without surprises.

A document has objects whose keys are text, lists, texts, finite numbers, booleans and null. Dates
are texts. An alias (which can grow without bound), a tag, and a key that stands twice, of which one
would win silently, are refused.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

_SCALARS = str | int | float | bool | None
_TIMESTAMP = "tag:yaml.org,2002:timestamp"


class NotPlain(ValueError):
    """The text is no YAML, or says what JSON cannot say."""


class KeyTwice(NotPlain):
    """A key stands twice in one object."""


class NotFinite(NotPlain):
    """A number is infinite or not a number."""


def read_yaml(text: str, *, text_keys: bool = True) -> Any:
    """The value of a document.

    Parameters
    ----------
    text : str
    text_keys : bool, default True
        Whether a key that is not text is refused; arms of a recorded table may be named by numbers.

    Raises
    ------
    NotPlain
        Naming the rule, and the line where there is one.
    RecursionError
        If it is nested more deeply than the interpreter can follow.
    """
    import yaml  # loaded at the first need: most processes never read any

    try:
        value = yaml.load(text, Loader=_loader(text_keys))  # noqa: S506 - safe, and narrower
    except yaml.YAMLError as problem:
        raise NotPlain(" ".join(str(problem).split())) from problem
    _check_plain(value)
    return value


@cache
def _loader(text_keys: bool) -> Any:
    import yaml

    class Plain(yaml.SafeLoader):
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise NotPlain("anchors and aliases are not allowed")
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            seen = set()
            for place, _ in node.value:
                key, line = self.construct_object(place, deep=True), place.start_mark.line + 1
                if not isinstance(key, str if text_keys else _SCALARS):
                    raise NotPlain(f"line {line}: {key!r:.80} cannot be a key")
                if key in seen:
                    raise KeyTwice(f"line {line}: the key {key!r:.80} stands twice in one object")
                seen.add(key)
            return super().construct_mapping(node, deep=deep)

    Plain.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in known if tag != _TIMESTAMP]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    return Plain


def _check_plain(value: Any) -> None:
    if isinstance(value, dict):
        for item in value.values():
            _check_plain(item)
    elif isinstance(value, list):
        for item in value:
            _check_plain(item)
    elif isinstance(value, float) and not math.isfinite(value):
        raise NotFinite("a number is infinite or not a number")
    elif not isinstance(value, _SCALARS):
        raise NotPlain(f"a {type(value).__name__} cannot stand in a document")
