from __future__ import annotations

import pandas as pd
import pytest

from controller.analysis import analyze
from controller.analysis.offline import tables
from controller.errors import InvalidInput
from tests.unit.analysis_offline.tables import BINARY, spec, units

DATA = units(n=300, effect=0.1)
STEPS: pd.Series = pd.Timestamp("2024-03-01") + pd.to_timedelta(DATA["t"], unit="s")
DESCRIPTION = spec(BINARY, time="t", looks=3)


FORMS = {
    "instants": STEPS,
    "in a zone": STEPS.dt.tz_localize("Europe/Paris"),
    "coarse": STEPS.dt.as_unit("ms"),
    "text": STEPS.dt.strftime("%Y-%m-%dT%H:%M:%S"),
    "text in a zone": STEPS.dt.strftime("%Y%m%dT%H%M%S") + "+0530",
    "objects": STEPS.astype(object),
    "nullable": DATA["t"].astype("Int64"),
    "floats": DATA["t"].astype(float) / 7,
    "unsigned": DATA["t"].astype("uint16"),
    "numbers as text": (DATA["t"] - 150).astype(str),
    "spaces": " " + DATA["t"].astype(str) + ".5 ",
}


@pytest.mark.parametrize("form", FORMS)
def test_numbers_and_times_in_any_form_give_one_order(form: str) -> None:
    shuffled = DATA.assign(t=FORMS[form]).sample(frac=1.0, random_state=3)
    again, plain = (analyze(data, DESCRIPTION).document["looks"] for data in (shuffled, DATA))
    assert [look["n"] for look in again] == [look["n"] for look in plain]


def test_pieces_of_a_table_are_held_to_the_kind_of_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tables, "CHUNK_ROWS", 100)
    mixed = DATA.assign(t=[*range(200), *STEPS[200:].astype(str)])
    with pytest.raises(InvalidInput, match="row 201, column 't': must be a finite number"):
        analyze(mixed, DESCRIPTION)
    other = DATA.assign(t=[*STEPS[:200].astype(str), *range(200, 300)])
    with pytest.raises(InvalidInput, match="row 201, column 't': must be an ISO 8601 time"):
        analyze(other, DESCRIPTION)
    frame = DATA.assign(t=[*STEPS[:200], *range(200, 300)])
    with pytest.raises(InvalidInput, match="row 201, column 't'"):
        analyze(frame, DESCRIPTION)


@pytest.mark.parametrize("bad", ["2024-13-01", "1st of May", "now", "today", "-inf", "20"])
def test_a_time_that_is_none_names_its_row(bad: str) -> None:
    written = STEPS.astype(str).tolist()
    with pytest.raises(InvalidInput, match=r"row 8, column 't': must be .* ISO 8601 time"):
        analyze(DATA.assign(t=[*written[:7], bad, *written[8:]]), DESCRIPTION)
