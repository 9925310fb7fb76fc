"""YAML that JSON could have said, and every way in which it could not."""

from __future__ import annotations

import pytest

from controller.plain_yaml import KeyTwice, NotFinite, NotPlain, read_yaml


def test_what_json_can_say_is_read_and_a_date_is_text() -> None:
    text = "{since: 2026-01-31, at: 2026-01-31 10:00:00, n: 3, x: [1.5, null, true, '7', {}]}"
    assert read_yaml(text) == {
        "since": "2026-01-31",
        "at": "2026-01-31 10:00:00",
        "n": 3,
        "x": [1.5, None, True, "7", {}],
    }


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", KeyTwice, "line 3: the key 'a' stands twice"),
        ("a: {b: 1, b: 1}", KeyTwice, "'b' stands twice"),
        ("a: [.nan]", NotFinite, "not a number"),
        ("a: -.inf", NotFinite, "infinite"),
        ("a: &x [1]\nb: *x\n", NotPlain, "aliases"),
        ("1: one", NotPlain, "line 1: 1 cannot be a key"),
        ("? [a]\n: 1\n", NotPlain, "cannot be a key"),
        ("a: !!binary aGk=", NotPlain, "bytes cannot stand"),
        ("a: !!set {b, c}", NotPlain, "set cannot stand"),
        ("!!python/object/apply:os.system ['true']", NotPlain, "could not determine"),
        ("a: [1", NotPlain, "line 1"),
        ("a: \x07", NotPlain, "special characters"),
        ("<<: {a: 1}", NotPlain, "could not determine"),
    ],
)
def test_what_json_cannot_say_is_refused(text: str, kind: type[NotPlain], said: str) -> None:
    with pytest.raises(NotPlain, match=said) as refused:
        read_yaml(text)
    assert type(refused.value) is kind


def test_arms_may_be_named_by_numbers_where_the_reader_says_so() -> None:
    assert read_yaml("{0: .5, 1: .5, new: 1}", text_keys=False) == {0: 0.5, 1: 0.5, "new": 1}
    with pytest.raises(KeyTwice, match="0 stands twice"):
        read_yaml("{0: .5, 0: .5}", text_keys=False)
    with pytest.raises(NotPlain, match="cannot be a key"):
        read_yaml("? [a]\n: 1\n", text_keys=False)
