import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import InvalidInput
from controller.experiments.canonical import canonical_json, sha256_of
from controller.experiments.document import (
    Fields,
    check_key,
    format_duration,
    parse_duration,
    parse_share,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15m", 900), ("24h", 86400), ("14d", 1209600), ("1h30m", 5400), ("250ms", 0.25)],
)
def test_a_duration_reads_as_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text, "dwell") == seconds


@pytest.mark.parametrize(
    "text", ["", "90", "h", "1 h", "-5m", "5 minutes", 90, None, "1h 30m", "5y"]
)
def test_what_is_no_duration_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"policy\.dwell: expected a duration"):
        parse_duration(text, "policy.dwell")


@given(st.integers(min_value=1, max_value=10**7))
def test_a_formatted_duration_reads_back(seconds: float) -> None:
    assert parse_duration(format_duration(float(seconds)), "x") == seconds


def test_a_share_is_a_number_or_a_percentage() -> None:
    assert parse_share(0.25, "x") == 0.25
    assert parse_share("25%", "x") == 0.25
    assert parse_share(0, "x") == 0
    assert parse_share(1, "x") == 1


def test_a_bare_ten_is_asked_about() -> None:
    with pytest.raises(InvalidInput, match=r'did you mean 0\.10 or "10%"\?'):
        parse_share(10, "ramp[0].enrolled")


@pytest.mark.parametrize("value", [True, "10", "x%", -0.1, "101%", float("nan"), None, [0.1]])
def test_what_is_no_share_is_refused(value: object) -> None:
    with pytest.raises(InvalidInput):
        parse_share(value, "x")


@pytest.mark.parametrize("key", ["Cost", "", "a b", "-a", "a" * 65, "é", "a/b", None, 3])
def test_a_key_is_safe_in_paths(key: object) -> None:
    with pytest.raises(InvalidInput):
        check_key(key, "metric.key")


def test_an_unknown_key_is_refused_with_the_closest_known_one() -> None:
    fields = Fields({"windw_seconds": 5}, "metric")
    fields.optional_number("window_seconds")
    with pytest.raises(InvalidInput, match="did you mean 'window_seconds'"):
        fields.done()


@pytest.mark.parametrize("value", [True, "1", float("nan"), float("inf"), None, [], 0, 11])
def test_a_number_is_finite_and_inside_its_bounds(value: object) -> None:
    with pytest.raises(InvalidInput, match="x"):
        Fields({"x": value}, "").number("x", above=0, most=10)


def test_text_with_a_nul_or_half_a_surrogate_is_refused() -> None:
    for bad in ("a\0b", "\ud800"):
        with pytest.raises(InvalidInput):
            Fields({"x": bad}, "").text("x")


def test_a_list_is_not_an_object() -> None:
    with pytest.raises(InvalidInput, match="expected an object"):
        Fields([], "slot")


def test_a_key_that_is_no_text_is_refused() -> None:
    with pytest.raises(InvalidInput, match="keys are text"):
        Fields({1: "a", "b": 2}, "approvals")


def test_canonical_json_does_not_depend_on_the_order_of_keys() -> None:
    assert canonical_json({"b": 1, "a": [1.5, None]}) == b'{"a":[1.5,null],"b":1}'
    assert sha256_of({"a": 1, "b": 2}) == sha256_of({"b": 2, "a": 1})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), "\ud800"])
def test_canonical_json_refuses_what_json_cannot_say(value: object) -> None:
    with pytest.raises(InvalidInput):
        canonical_json({"x": value})
