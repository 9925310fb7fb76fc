import pytest

from controller.assignment.signature import (
    format_key,
    same_key,
    sign_ruleset,
    split_key,
    stored_hash,
    verify_ruleset,
)
from controller.errors import InvalidInput

KEY = "rc_k1abcd_s3cret-s3cret_s3cret"


def test_a_key_has_an_id_and_two_different_halves() -> None:
    key_id, auth, signing = split_key(KEY)
    assert key_id == "k1abcd"
    assert len(auth) == len(signing) == 32
    assert auth != signing
    assert split_key(KEY) == (key_id, auth, signing)
    assert format_key("k1abcd", "s3cret-s3cret_s3cret") == KEY


def test_the_halves_are_fixed_for_ever() -> None:
    _, auth, signing = split_key(KEY)
    assert auth.hex() == "e6789a6d70d453355b53b0cd0e4cb1a388b29ec74642e3b645aa6469f6f863c5"
    assert signing.hex() == "5f951454da0dca752c9c76c9a5d97dbff4649a33f9bf5df0c7074934d68804f3"


def test_the_server_recognises_a_key_by_a_hash_of_one_half() -> None:
    _, auth, signing = split_key(KEY)
    stored = stored_hash(auth)
    assert same_key(auth, stored)
    assert not same_key(signing, stored)
    assert auth.hex() not in stored


@pytest.mark.parametrize(
    "key",
    [
        "",
        "rc__",
        "rc_k1_s3cret-s3cret-s3cret",
        "sk_k1abcd_s3cret-s3cret_s3cret",
        "rc_k1abcd_short",
        KEY + " ",
        KEY + "\n",
        "rc_k1abcd_" + "é" * 20,
        "rc_k1abcd_" + "a" * 129,
    ],
)
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(InvalidInput):
        split_key(key)


def test_a_signature_covers_key_deployment_version_and_digest() -> None:
    _, _, signing = split_key(KEY)
    _, _, other = split_key("rc_k1abcd_another-secret-of-length")
    good = sign_ruleset(signing, deployment="d", version=7, digest="ab")
    assert verify_ruleset(good, signing, deployment="d", version=7, digest="ab")
    assert not verify_ruleset(good, other, deployment="d", version=7, digest="ab")
    assert not verify_ruleset(good, signing, deployment="e", version=7, digest="ab")
    assert not verify_ruleset(good, signing, deployment="d", version=8, digest="ab")
    assert not verify_ruleset(good, signing, deployment="d", version=7, digest="ac")
    for damaged in ("", "v1=", good[:-1], good.upper(), "v1=é"):
        assert not verify_ruleset(damaged, signing, deployment="d", version=7, digest="ab")
