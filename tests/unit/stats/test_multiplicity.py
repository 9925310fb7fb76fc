from __future__ import annotations

import math

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from controller.errors import InvalidInput
from controller.stats.multiplicity import holm


def test_holm_agrees_with_statsmodels_and_keeps_the_order() -> None:
    p = [0.2, 0.001, 0.035, 0.8, 0.012, 0.012]
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1], rtol=1e-14)


def test_a_claim_without_evidence_still_counts_in_the_family() -> None:
    assert holm([0.02, 1.0]) == [0.04, 1.0]


@pytest.mark.parametrize("p", [[0.1, math.nan], [-0.1], [1.1]])
def test_what_is_no_probability_is_an_error(p: list[float]) -> None:
    with pytest.raises(InvalidInput):
        holm(p)
