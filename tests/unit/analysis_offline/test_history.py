from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from controller.analysis.offline import history
from controller.analysis.offline.history import baselines
from controller.errors import InvalidInput

RNG = np.random.default_rng(3)
FRAME = pd.DataFrame(
    {
        "spend": RNG.lognormal(size=5_000),
        "bought": RNG.random(5_000) < 0.1,
        "orders": RNG.poisson(2.0, 5_000),
    }
)


def test_a_history_gives_mean_and_sd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.analysis.offline.tables.CHUNK_ROWS", 700)
    found = baselines(FRAME, {"revenue": "spend", "conversion": "bought"})
    assert found["revenue"].mean == pytest.approx(FRAME["spend"].mean())
    assert found["revenue"].sd == pytest.approx(FRAME["spend"].std())
    assert found["conversion"].mean == pytest.approx(FRAME["bought"].mean())


def test_a_ratio_is_linearised() -> None:
    found = baselines(FRAME, {"order_value": "spend/orders"})["order_value"]
    ratio = FRAME["spend"].sum() / FRAME["orders"].sum()
    residual = (FRAME["spend"] - ratio * FRAME["orders"]) / FRAME["orders"].mean()
    assert found.mean == pytest.approx(ratio)
    assert found.sd == pytest.approx(residual.std())


def test_large_values_do_not_cancel() -> None:
    found = baselines(FRAME.assign(spend=1e9 + FRAME["bought"]), {"revenue": "spend"})
    assert found["revenue"].sd == pytest.approx(FRAME["bought"].std(), rel=1e-6)


@pytest.mark.parametrize(
    ("frame", "column", "said"),
    [
        (FRAME, "nothing", "nothing"),
        (FRAME.head(history.FEWEST_UNITS - 1), "spend", "are needed"),
        (FRAME.assign(spend=1.0), "spend", "the same"),
        (FRAME.assign(spend=["x", *FRAME["spend"][1:].astype(str)]), "spend", "must be a number"),
        (FRAME.assign(orders=0), "spend/orders", "denominator"),
        (FRAME.assign(spend=FRAME["spend"].where(FRAME.index != 7)), "spend", "is empty"),
    ],
)
def test_a_history_that_says_nothing_is_refused(
    frame: pd.DataFrame, column: str, said: str
) -> None:
    with pytest.raises(InvalidInput, match=said):
        baselines(frame, {"revenue": column})
