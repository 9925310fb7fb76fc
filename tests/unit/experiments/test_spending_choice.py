from __future__ import annotations

from typing import Any

import pytest

from controller.errors import InvalidInput
from controller.experiments.policies import OecRules, Policy, Spending

POLICY: dict[str, Any] = {"ramp": [{"enrolled": 1}]}
TABLE = [[0.25, 0.0], ["50%", 0.2], [1, 1]]


def oec(**rules: Any) -> OecRules:
    return Policy.from_document({**POLICY, "oec": rules}, name="p").oec


def test_every_family_can_be_named_and_reads_back_as_it_was_written() -> None:
    for rules in (
        oec(spending="hsd", gamma=-1.5),
        oec(spending="obrien_fleming"),
        oec(spending="pocock"),
        oec(spending="kim_demets", rho=3),
        oec(spending="tabulated", spending_table=TABLE),
    ):
        assert oec(**rules.document()) == rules
    assert {each.value for each in Spending} == {
        "hsd",
        "obrien_fleming",
        "pocock",
        "kim_demets",
        "tabulated",
    }


def test_a_policy_says_what_shapes_its_family_and_nothing_of_the_others() -> None:
    power, table = oec(spending="kim_demets"), oec(spending="tabulated", spending_table=TABLE)
    assert power.rho == 2.0
    assert power.document()["rho"] == 2.0
    assert "spending_table" not in power.document()
    assert table.spending_table == ((0.25, 0.0), (0.5, 0.2), (1.0, 1.0))
    assert table.document()["spending_table"] == [[0.25, 0.0], [0.5, 0.2], [1.0, 1.0]]
    assert not {"rho", "spending_table"} & oec().document().keys()


@pytest.mark.parametrize(
    ("rules", "place"),
    [
        ({"spending": "wang_tsiatis"}, "policy.oec.spending"),
        ({"rho": 2}, "policy.oec.rho"),
        ({"spending": "kim_demets", "rho": 0}, "policy.oec.rho"),
        ({"spending": "kim_demets", "rho": 40.5}, "policy.oec.rho"),
        ({"spending": "pocock", "spending_table": TABLE}, "policy.oec.spending_table"),
        ({"spending": "tabulated"}, "policy.oec.spending_table"),
        ({"spending": "tabulated", "spending_table": []}, "policy.oec.spending_table"),
        ({"spending": "tabulated", "spending_table": "late"}, "policy.oec.spending_table"),
        (
            {"spending": "tabulated", "spending_table": [[0.5, 0.5]]},
            "policy.oec.spending_table",
        ),
        (
            {"spending": "tabulated", "spending_table": [[0.5], [1, 1]]},
            "policy.oec.spending_table[0]",
        ),
        (
            {"spending": "tabulated", "spending_table": [[0.5, 0.5], [0.5, 0.6], [1, 1]]},
            "policy.oec.spending_table[1]",
        ),
        (
            {"spending": "tabulated", "spending_table": [[0.4, 0.5], [0.6, 0.4], [1, 1]]},
            "policy.oec.spending_table[1]",
        ),
        (
            {"spending": "tabulated", "spending_table": [[0.0, 0.0], [1, 1]]},
            "policy.oec.spending_table[0]",
        ),
        (
            {"spending": "tabulated", "spending_table": [[0.5, None], [1, 1]]},
            "policy.oec.spending_table[0][1]",
        ),
    ],
)
def test_what_is_wrong_with_a_shape_is_said_where_it_stands(
    rules: dict[str, Any], place: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        oec(**rules)
    assert refused.value.field == place
