"""How strong the evidence is beside how strong it must be: the score and its bounds.

Upwards is better for the challenger, whatever the metric's direction. The horizontal axis is the
share of the planned evidence, so that an early excursion is seen for what it is: early.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from markupsafe import Markup

from controller.flow.numbers import signed
from controller.service.ui.charts.canvas import Canvas, on_both
from controller.service.ui.charts.marks import (
    Point,
    band,
    element,
    figure,
    glyph,
    label,
    line,
    number,
)
from controller.service.ui.charts.scales import Scale, ticks
from controller.service.ui.series import Seen, first_crossing


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """What one picture tells.

    Attributes
    ----------
    naive : float
        The bound of a test that is looked at once, drawn to compare.
    sides : {1, 2}
        Whether the challenger can also be shown worse.
    """

    seen: Sequence[Seen]
    naive: float
    sides: Literal[1, 2]
    words: str


def strength_chart(contest: Contest) -> Markup:
    """Draw score and bounds of a planned test for either width of page."""
    return on_both(partial(_draw, contest))


def along(seen: Sequence[Seen], one: Seen) -> float:
    """How far along the axis of planned evidence a look lies, in [0, 1]."""
    return one.t / _most(seen)


def _most(seen: Sequence[Seen]) -> float:
    return max([1.0, *(one.t for one in seen)])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    canvas: Canvas
    x: Scale
    y: Scale

    def points(self, values: Sequence[tuple[float, float | None]]) -> list[Point]:
        return [
            (self.x.clamped(t), self.y.clamped(value)) for t, value in values if value is not None
        ]


def _frame(contest: Contest, canvas: Canvas) -> _Frame:
    scores = [one.z for one in contest.seen if one.z is not None]
    bounds = [one.bound for one in contest.seen if one.bound is not None]
    sizes = [abs(score) for score in scores]
    reach = max([contest.naive + 1.0, *sizes, *bounds])
    reach = min(reach, max([6.0, *sizes])) * 1.15
    lowest = -reach if contest.sides == 2 else min([-0.5, *scores]) * 1.15
    return _Frame(
        canvas=canvas,
        x=Scale(low=0.0, high=_most(contest.seen), start=canvas.left, end=canvas.right),
        y=Scale(low=lowest, high=reach, start=canvas.bottom, end=canvas.top),
    )


def _draw(contest: Contest, canvas: Canvas) -> Markup:
    frame = _frame(contest, canvas.tall(240.0 if canvas.narrow else 260.0))
    canvas = frame.canvas
    zero = number(frame.y(0.0))
    return figure(
        *_grid(frame),
        *_naive(frame, contest),
        *_bounds(frame, contest),
        element("path", d=f"M{canvas.left} {zero}H{canvas.right}", class_="zero"),
        line(frame.points([(one.t, one.z) for one in contest.seen]), class_="estimate"),
        *_latest(frame, contest.seen),
        *_sides(frame, contest.sides),
        element("path", d=f"M0 {canvas.top}V{canvas.bottom}", class_="cursor", visibility="hidden"),
        canvas=canvas,
        label=contest.words,
        kind="strength",
    )


def _grid(frame: _Frame) -> Iterator[Markup]:
    canvas = frame.canvas
    for value in ticks(frame.y.low, frame.y.high, 5):
        y = frame.y(value)
        yield element("path", d=f"M{canvas.left} {number(y)}H{canvas.right}", class_="grid")
        text = "0" if value == 0 else signed(value, 0)
        yield label(text, canvas.left - 7, y + 4, class_="tick", text_anchor="end")
    step = 0.25 if frame.x.high <= 1.3 else 0.5
    for index in range(math.floor(frame.x.high / step) + 1):
        x = frame.x(index * step)
        yield element("path", d=f"M{number(x)} {number(canvas.bottom)}v5", class_="axis")
        anchor = "end" if x > canvas.right - 20 else "middle"
        yield label(f"{index * step:.0%}", x, canvas.bottom + 22, class_="tick", text_anchor=anchor)
    words = "of the planned evidence" if canvas.narrow else "share of the planned evidence"
    yield label(words, canvas.right, canvas.bottom + 40, class_="tick", text_anchor="end")


def _sides(frame: _Frame, sides: Literal[1, 2]) -> Iterator[Markup]:
    """Words for up and down, as beside the difference: here up is always better."""
    canvas = frame.canvas
    who = "" if canvas.narrow else "challenger "
    places = (("▲", "better", canvas.top + 16), ("▼", "worse", canvas.bottom - 8))
    for arrow, word, y in places[:sides]:
        yield label(f"{arrow} {who}{word}", canvas.left + 6, y, class_="side")


def _naive(frame: _Frame, contest: Contest) -> Iterator[Markup]:
    canvas = frame.canvas
    for value in (contest.naive, -contest.naive)[: contest.sides]:
        y = number(frame.y(value))
        yield element("path", d=f"M{canvas.left} {y}H{canvas.right}", class_="naive")
    words = (
        f"single look: {contest.naive:.2f}"
        if canvas.narrow
        else (f"enough if one looked only once ({contest.naive:.2f})")
    )
    above = frame.y(contest.naive) - 6
    yield label(words, canvas.right - 4, above, class_="naive-label", text_anchor="end")


def _bounds(frame: _Frame, contest: Contest) -> Iterator[Markup]:
    """What the score must pass now; the areas beyond are where a decision lies."""
    bounded = [(one.t, one.bound) for one in contest.seen if one.bound is not None]
    for sign in (1.0, -1.0)[: contest.sides]:
        points = frame.points([(t, sign * bound) for t, bound in bounded])
        if not points:
            continue
        edge = frame.canvas.top if sign > 0 else frame.canvas.bottom
        zone = "zone-better" if sign > 0 else "zone-worse"
        if len(points) > 1:
            yield band(points, [(x, edge) for x, _ in points], class_=zone)
            yield line(points, class_=f"bound {zone}")
        x, y = points[-1]
        yield element("circle", cx=number(x), cy=number(y), r="2.5", class_=f"bound {zone}")


def _latest(frame: _Frame, seen: Sequence[Seen]) -> Iterator[Markup]:
    crossing = first_crossing(seen)
    if crossing is not None and crossing.z is not None:
        tone = "good" if crossing.crossed in ("better", "not_worse") else "bad"
        shape = "up" if tone == "good" else "down"
        if crossing.crossed in ("futile", "ended"):
            shape, tone = "diamond", "quiet"
        ((x, y),) = frame.points([(crossing.t, crossing.z)])
        yield glyph(shape, x, y, class_=f"mark {tone}")
    scored = [one for one in seen if one.z is not None]
    if scored:
        ((x, y),) = frame.points([(scored[-1].t, scored[-1].z)])
        yield element("circle", cx=number(x), cy=number(y), r="4.5", class_="latest")
