"""Pictures are numbers: their places are read back from the drawing and compared."""

from __future__ import annotations

import itertools
import math
import re
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from controller.flow.numbers import Measure
from controller.service.ui.charts.canvas import NARROW, WIDE
from controller.service.ui.charts.difference import Mark, Story, along, difference_chart, limits
from controller.service.ui.charts.marks import element, label, number, path
from controller.service.ui.charts.scales import Scale, decimals_of, ticks, time_ticks
from controller.service.ui.charts.sparkline import sparkline
from controller.service.ui.charts.strength import Contest, strength_chart
from controller.service.ui.charts.traffic import Step, traffic_chart
from controller.service.ui.series import Seen, excursion

START = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)
EARLY_WIDTH, LATE_WIDTH = 3.0, 0.2


def look(index: int, **changes: object) -> Seen:
    width = EARLY_WIDTH if index < 3 else LATE_WIDTH
    values: dict[str, object] = {
        "look": index + 1,
        "at": START + timedelta(minutes=10 * index),
        "n": 1000 * index,
        "state": "Ramping",
        "enrolled": 0.1 if index < 5 else 1.0,
        "estimate": 0.05,
        "low": 0.05 - width,
        "high": 0.05 + width,
        "margin": 0.03,
        "t": index / 40,
        "z": 2.2 if index == 4 else 1.0,
        "bound": 4.0 - index / 10,
        "crossed": None,
    }
    return Seen(**{**values, **changes})  # type: ignore[arg-type]


SEEN = [look(index) for index in range(12)]


def story(**changes: object) -> Story:
    values: dict[str, object] = {
        "seen": SEEN,
        "measure": Measure(),
        "better": -1.0,
        "guards": False,
        "marks": [],
        "peeked": excursion(SEEN, alpha=0.05, sides=2),
        "words": 'a "difference" <b>',
    }
    return Story(**{**values, **changes})  # type: ignore[arg-type]


def drawings(markup: Markup) -> list[ET.Element]:
    """Wide and narrow, as a parser reads them."""
    return list(ET.fromstring(f"<both>{markup}</both>"))


def classed(drawing: ET.Element, name: str) -> list[ET.Element]:
    return [one for one in drawing.iter() if name in (one.get("class") or "").split()]


def points(one: ET.Element) -> list[tuple[float, float]]:
    found = re.findall(r"-?\d+(?:\.\d+)?", one.get("d") or "")
    return [(float(x), float(y)) for x, y in zip(found[::2], found[1::2], strict=True)]


def test_a_drawing_is_well_formed_named_and_has_no_style() -> None:
    markup = difference_chart(
        story(marks=[Mark(at=START, shape="up", tone="busy", kind="raised", words="<x>")])
    )
    for drawing, canvas in zip(drawings(markup), (WIDE, NARROW), strict=True):
        assert drawing.get("role") == "img"
        assert drawing.get("aria-label") == 'a "difference" <b>'
        assert canvas.name in (drawing.get("class") or "").split()
        assert not any(
            "style" in one.attrib or one.tag in ("style", "script") for one in drawing.iter()
        )


def test_every_place_lies_on_the_sheet() -> None:
    for drawing, canvas in zip(drawings(difference_chart(story())), (WIDE, NARROW), strict=True):
        for kind in ("band", "edge", "estimate"):
            for one in classed(drawing, kind):
                for x, y in points(one):
                    assert canvas.left <= x <= canvas.right
                    assert canvas.top <= y <= canvas.bottom


def test_what_is_cut_is_marked_at_its_edge() -> None:
    wide = drawings(difference_chart(story()))[0]
    titles = [one.text for one in wide.iter("title")]
    assert "The interval reaches above the picture until here" in titles
    assert "The interval reaches below the picture until here" in titles
    tame = [look(index, low=-0.1, high=0.2) for index in range(12)]
    assert not classed(drawings(difference_chart(story(seen=tame)))[0], "cut")


def test_the_excursion_is_a_strip_over_its_looks() -> None:
    wide = drawings(difference_chart(story()))[0]
    (strip,) = classed(wide, "peeked")
    across = WIDE.left + along(SEEN, SEEN[4]) * (WIDE.right - WIDE.left)
    assert math.isclose(float(strip.get("x") or 0), across, abs_tol=0.06)


def test_where_an_increase_is_worse_the_sides_are_named_so() -> None:
    words = " ".join(one.text or "" for one in drawings(difference_chart(story()))[0].iter("text"))
    assert "▲ challenger worse" in words
    assert "▼ challenger better" in words


def test_a_guardrail_shows_its_limit_on_the_harmful_side() -> None:
    wide = drawings(difference_chart(story(guards=True)))[0]
    (limit,) = classed(wide, "margin")
    (zero,) = classed(wide, "zero")
    level = float(re.findall(r"M\S+ (\S+)H", zero.get("d") or "")[0])
    assert all(y < level for _, y in points(limit)), "for a cost the limit lies above zero"


def test_one_look_is_enough_for_a_picture() -> None:
    for drawing in drawings(difference_chart(story(seen=SEEN[:1], peeked=None))):
        assert classed(drawing, "span")
        assert classed(drawing, "latest")


def test_the_strength_chart_shows_bounds_on_both_sides_of_a_two_sided_test() -> None:
    contest = Contest(seen=SEEN, naive=1.96, sides=2, words="score")
    wide = drawings(strength_chart(contest))[0]
    upper = [one for one in classed(wide, "zone-better") if one.tag == "path"]
    lower = [one for one in classed(wide, "zone-worse") if one.tag == "path"]
    assert len(upper) == len(lower) == 2
    one_sided = drawings(strength_chart(Contest(seen=SEEN, naive=1.96, sides=1, words="s")))[0]
    assert not classed(one_sided, "zone-worse")


def test_the_axis_of_evidence_reaches_all_that_was_planned() -> None:
    contest = Contest(seen=SEEN, naive=1.96, sides=2, words="score")
    wide = drawings(strength_chart(contest))[0]
    estimate = classed(wide, "estimate")[0]
    last = points(estimate)[-1][0]
    share = (last - WIDE.left) / (WIDE.right - WIDE.left)
    assert math.isclose(share, SEEN[-1].t, abs_tol=0.001), "an early look stands early"


def test_traffic_is_drawn_as_steps() -> None:
    steps = [
        Step(at=START, enrolled=0.1, challenger=0.05),
        Step(at=START + timedelta(hours=1), enrolled=1.0, challenger=0.5),
    ]
    markup = traffic_chart(steps, until=START + timedelta(hours=2), words="traffic")
    wide = drawings(markup)[0]
    line = next(
        one for one in classed(wide, "share-line") if "challenger" in (one.get("class") or "")
    )
    heights = [y for _, y in points(line)]
    assert heights[0] == heights[1], "flat until the next step"
    assert heights[-1] < heights[0], "a larger share stands higher"


def test_a_sparkline_is_decoration() -> None:
    (drawing,) = drawings(sparkline(SEEN))
    assert drawing.get("aria-hidden") == "true"
    assert sparkline(SEEN[:1]) == ""


# ---------------------------------------------------------------- scales and marks


@given(low=st.floats(-1e6, 1e6), span=st.floats(1e-6, 1e6), about=st.integers(2, 10))
def test_ticks_are_round_inside_and_about_as_many(low: float, span: float, about: int) -> None:
    found = ticks(low, low + span, about)
    assert len(found) <= 2 * about + 1
    room = 1e-6 * span
    assert all(low - room <= tick <= low + span + room for tick in found)
    if len(found) > 2:
        steps = [after - before for before, after in itertools.pairwise(found)]
        assert max(steps) == pytest.approx(min(steps), rel=1e-3)


def test_ticks_are_told_apart() -> None:
    assert decimals_of(ticks(-0.13, 0.22, 5)) == 1
    assert ticks(0.0, 0.0, 5) == []


def test_time_ticks_are_whole_in_utc() -> None:
    low = START.timestamp()
    words = [text for _, text in time_ticks(low, low + 3 * 3600, 6)]
    assert words[:3] == ["06:00", "06:30", "07:00"]
    days = [text for _, text in time_ticks(low, low + 10 * 86400, 5)]
    assert "25 Nov" in days
    assert not list(time_ticks(low, low, 5))


def test_a_scale_holds_its_ends() -> None:
    scale = Scale(low=0.0, high=2.0, start=100.0, end=0.0)
    assert (scale(0.0), scale(2.0), scale.clamped(9.0)) == (100.0, 0.0, 0.0)
    assert scale.holds(1.0)
    assert not scale.holds(2.1)


def test_the_limits_hold_zero_and_the_last_interval() -> None:
    low, high = limits(SEEN, guards=False)
    assert low < 0.0 < high
    assert low < SEEN[-1].low < SEEN[-1].high < high  # type: ignore[operator]
    assert high < EARLY_WIDTH, "early intervals do not set the scale"


def test_text_and_attributes_are_escaped() -> None:
    markup = element("g", label('<&"', 1, 2), class_='a"b')
    assert markup == '<g class="a&#34;b"><text x="1" y="2">&lt;&amp;&#34;</text></g>'
    assert path([]) == ""
    assert number(-0.04) == "0"


@pytest.mark.parametrize("minutes_before", [None, 4])
def test_a_raise_is_drawn_once_where_it_was_decided(minutes_before: int | None) -> None:
    first_of_stage = SEEN[5]
    at = first_of_stage.at - timedelta(minutes=minutes_before or 0)
    mark = Mark(at=at, shape="up", tone="busy", kind="raised", words="Raised")
    wide, _ = drawings(difference_chart(story(marks=[mark] if minutes_before else [])))
    assert len(classed(wide, "stage")) + len(classed(wide, "when")) == 1
    (share,) = (one for one in wide.iter() if one.text == "100% enrolled")
    place = WIDE.left + (WIDE.right - WIDE.left) * ((at - START) / (SEEN[-1].at - START))
    assert float(share.get("x") or 0) == pytest.approx(place + 5, abs=0.1)
