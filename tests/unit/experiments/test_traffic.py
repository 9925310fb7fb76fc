"""Holdouts, layers and tags as people write them."""

from __future__ import annotations

from typing import Any

import pytest

from controller.errors import InvalidInput
from controller.experiments.holdouts import Holdout
from controller.experiments.layers import Layer
from controller.experiments.slots import Slot

SLOT = {"unit": "customer", "champion": {"name": "rule", "version": "1"}}


def test_a_holdout_reads_back_as_it_was_written() -> None:
    document = {"unit": "customer", "share": "5%", "tag": "pricing", "description": "a year"}
    holdout = Holdout.from_document(document, name="pricing-2027")
    assert holdout.share == 0.05
    assert Holdout.from_document(holdout.document(), name="pricing-2027") == holdout


def test_a_holdout_reaches_its_unit_type_and_its_tag() -> None:
    everywhere = Holdout(name="all", unit="customer", share=0.1)
    tagged = Holdout(name="some", unit="customer", share=0.1, tag="pricing")
    assert everywhere.reaches(unit="customer", tags=())
    assert not everywhere.reaches(unit="device", tags=("pricing",))
    assert tagged.reaches(unit="customer", tags=("search", "pricing"))
    assert not tagged.reaches(unit="customer", tags=("search",))


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ([], "holdout"),
        ({"share": 0.1}, "holdout.unit"),
        ({"unit": "customer"}, "holdout.share"),
        ({"unit": "customer", "share": 5}, "holdout.share"),
        ({"unit": "customer", "share": -0.1}, "holdout.share"),
        ({"unit": "customer", "share": True}, "holdout.share"),
        ({"unit": "customer", "share": float("nan")}, "holdout.share"),
        ({"unit": "customer", "share": 0.1, "tag": "No Tag"}, "holdout.tag"),
        ({"unit": "customer", "share": 0.1, "salt": "mine"}, "holdout.salt"),
        ({"unit": "customer", "share": 0.1, "name": "other"}, "holdout.name"),
    ],
)
def test_a_bad_holdout_is_refused_by_field(document: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        Holdout.from_document(document, name="h")
    assert refusal.value.field == field


def test_a_layer_reads_back_as_it_was_written() -> None:
    document = {"unit": "customer", "slots": {"search": "30%", "checkout": 0.7}}
    layer = Layer.from_document(document, name="shop")
    assert layer.slots == {"search": 0.3, "checkout": 0.7}, "and .3 + .7 is 1, not a little more"
    assert Layer.from_document(layer.document(), name="shop") == layer


@pytest.mark.parametrize(
    ("slots", "field"),
    [
        (["search"], "layer.slots"),
        ({"search": 0.6, "checkout": 0.4001}, "layer.slots"),
        ({"search": 0}, "layer.slots.search"),
        ({"search": 0.00009}, "layer.slots.search"),
        ({"search": "half"}, "layer.slots.search"),
        ({"No Slot": 0.5}, "layer.slots"),
        ({f"s{number}": 0.001 for number in range(101)}, "layer.slots"),
    ],
)
def test_a_bad_layer_is_refused_by_field(slots: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        Layer.from_document({"unit": "customer", "slots": slots}, name="shop")
    assert refusal.value.field == field


def test_a_slot_carries_tags_and_one_without_keeps_its_document() -> None:
    tagged = Slot.from_document({**SLOT, "tags": ["pricing", "search"]}, key="s")
    assert tagged.tags == ("pricing", "search")
    assert Slot.from_document(tagged.document()) == tagged
    assert "tags" not in Slot.from_document(SLOT, key="s").document(), "plans keep their digest"


@pytest.mark.parametrize("tags", ["pricing", ["a", "a"], ["A"], [1], [f"t{n}" for n in range(21)]])
def test_bad_tags_are_refused(tags: Any) -> None:
    with pytest.raises(InvalidInput) as refusal:
        Slot.from_document({**SLOT, "tags": tags}, key="s")
    assert refusal.value.field == "slot.tags"
