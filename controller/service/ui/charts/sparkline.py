"""A comparison in the width of a word: interval, estimate and zero, no axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from markupsafe import Markup

from controller.service.ui.charts.canvas import Canvas
from controller.service.ui.charts.difference import limits
from controller.service.ui.charts.marks import band, element, figure, line, number
from controller.service.ui.charts.scales import Scale
from controller.service.ui.series import Seen, thinned

SHEET: Final = Canvas(name="wide", width=120, height=34, left=1, right=116, top=1, bottom=33)
MOST: Final = 40


def sparkline(seen: Sequence[Seen]) -> Markup:
    """Draw the last looks; decoration beside the numbers that say the same."""
    shown = thinned([one for one in seen if one.low is not None or one.high is not None], MOST)
    if len(shown) < 2:
        return Markup("")
    low, high = limits(shown, guards=False)
    first, last = shown[0].at.timestamp(), shown[-1].at.timestamp()
    x = Scale(low=first, high=max(last, first + 1.0), start=SHEET.left, end=SHEET.right)
    y = Scale(low=low, high=high, start=SHEET.bottom, end=SHEET.top)
    places = [(x(one.at.timestamp()), one) for one in shown]
    upper = [(at, y.clamped(y.high if one.high is None else one.high)) for at, one in places]
    lower = [(at, y.clamped(y.low if one.low is None else one.low)) for at, one in places]
    middle = [(at, y.clamped(one.estimate)) for at, one in places if one.estimate is not None]
    return figure(
        band(upper, lower, class_="band"),
        element("path", d=f"M0 {number(y(0.0))}H{number(SHEET.width)}", class_="zero"),
        line(middle, class_="estimate"),
        canvas=SHEET,
        label="",
        kind="sparkline",
    )
