"""Eligibility: a small JSON condition tree, compiled once into closures.

::

    {"and": [C, ...]}   {"or": [C, ...]}   {"not": C}
    {"attribute": NAME, "op": OP, "value": V}

with OP one of ``eq ne in not_in lt lte gt gte prefix exists``. A leaf knows three answers: true,
false, and unknown (the attribute is missing or null, or of another type than the rule compares).
Trees combine them by Kleene's rules and an unknown result is *not eligible*, so negating a test
never lets in the units about which nothing is known. A tree with a part this version cannot read
is not eligible for anybody.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from controller.errors import InvalidInput

Attributes = Mapping[str, Any]
Truth = bool | None
Condition = Callable[[Attributes], Truth]

OPERATORS: Final = (
    "eq", "ne", "in", "not_in", "lt", "lte", "gt", "gte", "prefix", "exists",
)  # fmt: skip
MAX_NODES: Final = 200
MAX_DEPTH: Final = 16
MAX_VALUES: Final = 10_000
_EXACT: Final = 2**53


def compile_condition(tree: object, where: str = "eligible") -> Condition:
    """A function from attributes to true, false or None (unknown).

    Parameters
    ----------
    where : str
        How the tree is called in messages, which name the part that cannot be read.

    Raises
    ------
    InvalidInput
        If the tree is malformed, too large, or uses an operator this version does not know.
    """
    return _Compiler().node(tree, 1, where)


def check_condition(tree: object, where: str) -> Mapping[str, Any]:
    """A condition as somebody writes it down: what is not understood is refused, not ignored.

    Raises
    ------
    InvalidInput
        Naming the part, like ``rollout.eligible.and[1].op``.
    """
    _Compiler(strict=True).node(tree, 1, where)
    assert isinstance(tree, Mapping)
    return tree


def unreadable_part(tree: object) -> str | None:
    """Why this version cannot evaluate the tree; None when it can."""
    try:
        compile_condition(tree)
    except InvalidInput as error:
        return error.message
    return None


def never(_: Attributes) -> Truth:
    """The condition that stands in for a tree which cannot be read: nobody is eligible."""
    return False


class _Compiler:
    """One pass over one tree, counting its nodes; `strict` refuses keys a test does not have."""

    def __init__(self, *, strict: bool = False) -> None:
        self._nodes = 0
        self._strict = strict

    def node(self, tree: object, depth: int, at: str) -> Condition:
        self._nodes += 1
        if depth > MAX_DEPTH or self._nodes > MAX_NODES:
            raise _unreadable(at, f"at most {MAX_NODES} nodes, {MAX_DEPTH} deep")
        if not isinstance(tree, Mapping):
            raise _unreadable(at, "a node is an object")
        if "attribute" in tree:
            return self._test(tree, at)
        if len(tree) != 1:
            raise _unreadable(at, "a node is one of and, or, not, or a test of an attribute")
        ((word, parts),) = tree.items()
        at = f"{at}.{word!s:.40}"
        if word == "not":
            return _negate(self.node(parts, depth + 1, at))
        if word not in {"and", "or"} or not isinstance(parts, list) or not parts:
            raise _unreadable(at, f"unknown part {word!r:.60}, or not a list of conditions")
        compiled = tuple(
            self.node(part, depth + 1, f"{at}[{index}]") for index, part in enumerate(parts)
        )
        return _combine(compiled, decisive=word == "or")

    def _test(self, tree: Mapping[str, Any], at: str) -> Condition:
        unknown = set(tree) - _LEAF_KEYS
        if self._strict and unknown:
            key = min(map(str, unknown))
            raise _unreadable(f"{at}.{key:.40}", "a test has attribute, op and value")
        return _leaf(tree, at)


_LEAF_KEYS: Final = frozenset({"attribute", "op", "value"})


def _unreadable(at: str, rule: str) -> InvalidInput:
    return InvalidInput(f"The eligibility condition cannot be read at {at}: {rule}.", field=at)


def _negate(inner: Condition) -> Condition:
    def negation(attributes: Attributes) -> Truth:
        truth = inner(attributes)
        return None if truth is None else not truth

    return negation


def _combine(parts: Sequence[Condition], *, decisive: bool) -> Condition:
    """And (decisive false) or or (decisive true): one decisive part settles it, then unknown."""

    def combination(attributes: Attributes) -> Truth:
        result: Truth = not decisive
        for part in parts:
            truth = part(attributes)
            if truth is decisive:
                return decisive
            if truth is None:
                result = None
        return result

    return combination


def _kind(value: object) -> str | None:
    """The JSON kind of a comparable scalar; None for anything that has no exact comparison."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    if isinstance(value, int):
        return "number" if -_EXACT <= value <= _EXACT else None
    if isinstance(value, float):
        return "number" if math.isfinite(value) and abs(value) <= _EXACT else None
    return None


def _leaf(tree: Mapping[str, Any], at: str) -> Condition:
    name, operator, value = tree["attribute"], tree.get("op"), tree.get("value")
    if not isinstance(name, str):
        raise _unreadable(f"{at}.attribute", "attribute and op are strings")
    if operator not in OPERATORS:
        raise _unreadable(
            f"{at}.op", f"unknown operator {operator!r:.60}; use one of {', '.join(OPERATORS)}"
        )
    at = f"{at}.value"
    if operator == "exists":
        return _exists(name, value, at)
    if operator in {"in", "not_in"}:
        inside = _member(name, value, at)
        return inside if operator == "in" else _negate(inside)
    kind = _kind(value)
    if kind is None:
        raise _unreadable(at, f"{operator} needs a string, a boolean or a number within 2**53")
    if operator in {"eq", "ne"}:
        equal = _compare(name, kind, lambda seen: bool(seen == value))
        return equal if operator == "eq" else _negate(equal)
    return _ordering(name, operator, kind, value, at)


def _exists(name: str, wanted: object, at: str) -> Condition:
    if not isinstance(wanted, bool):
        raise _unreadable(at, "exists needs true or false")
    return lambda attributes: (attributes.get(name) is not None) is wanted


def _member(name: str, values: object, at: str) -> Condition:
    if not isinstance(values, list) or not 0 < len(values) <= MAX_VALUES:
        raise _unreadable(at, f"in and not_in need a list of 1 to {MAX_VALUES} values")
    kinds = [_kind(value) for value in values]
    if None in kinds:
        raise _unreadable(at, "a list holds strings, booleans or numbers within 2**53")
    if set(kinds) == {"string"}:
        return _string_member(name, frozenset(values))
    known, members = frozenset(kinds), frozenset(zip(kinds, values, strict=True))

    def member(attributes: Attributes) -> Truth:
        seen = attributes.get(name)
        kind = _kind(seen)
        return (kind, seen) in members if kind in known else None

    return member


def _string_member(name: str, members: frozenset[str]) -> Condition:
    def member(attributes: Attributes) -> Truth:
        seen = attributes.get(name)
        return seen in members if isinstance(seen, str) else None

    return member


def _compare(name: str, kind: str, test: Callable[[Any], bool]) -> Condition:
    """A test that is unknown where the attribute is missing or of another kind than the rule's."""

    def comparison(attributes: Attributes) -> Truth:
        seen = attributes.get(name)
        return test(seen) if _kind(seen) == kind else None

    return comparison


def _ordering(name: str, operator: str, kind: str, value: Any, at: str) -> Condition:
    if operator == "prefix" and kind == "string":
        return _compare(name, kind, lambda seen: bool(seen.startswith(value)))
    if kind == "boolean" or operator not in {"lt", "lte", "gt", "gte"}:
        raise _unreadable(at, f"{operator} does not compare a {kind}")
    tests: dict[str, Callable[[Any], bool]] = {
        "lt": lambda seen: bool(seen < value),
        "lte": lambda seen: bool(seen <= value),
        "gt": lambda seen: bool(seen > value),
        "gte": lambda seen: bool(seen >= value),
    }
    return _compare(name, kind, tests[operator])
