"""The packaged data are the published ones, with their licences beside them."""

from __future__ import annotations

from hashlib import sha256
from importlib.resources import files

import pytest

DATA = files("controller.demo").joinpath("data")


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        (
            "flights2013.csv.gz",
            "f022b00893272b088c4527d06f2dfcb7f2a34a65598658829eac1d8fb27e93e6",
        ),
        (
            "open_bandit_men.csv.gz",
            "bbb6bbce41dc70692af1c2613b79d4c57ea19bb2396740d4f94ae38871f6d9e1",
        ),
    ],
)
def test_packaged_data_are_unchanged(name: str, digest: str) -> None:
    assert sha256(DATA.joinpath(name).read_bytes()).hexdigest() == digest


def test_every_data_set_carries_licence_and_attribution() -> None:
    readme = DATA.joinpath("README.md").read_text(encoding="utf-8")
    assert "CC0" in DATA.joinpath("LICENSE-flights2013.txt").read_text(encoding="utf-8")
    bandit = DATA.joinpath("LICENSE-open-bandit.txt").read_text(encoding="utf-8")
    for text in (readme, bandit):
        assert "CC BY 4.0" in text
        assert "Saito" in text
        assert "ZOZO" in text
