"""What share of the slot's traffic was split, and what share met the challenger, over time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from controller.service.ui.charts.canvas import Canvas, on_both
from controller.service.ui.charts.marks import Point, band, element, figure, label, line, number
from controller.service.ui.charts.scales import Scale, time_ticks


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """From `at` on, this share was split and this share met the challenger, each in [0, 1]."""

    at: datetime
    enrolled: float
    challenger: float


def traffic_chart(steps: Sequence[Step], *, until: datetime, words: str) -> Markup:
    """Draw both shares as steps; at least one step."""

    def draw(canvas: Canvas) -> Markup:
        return _draw(canvas.tall(190.0), steps, until, words)

    return on_both(draw)


def _draw(canvas: Canvas, steps: Sequence[Step], until: datetime, words: str) -> Markup:
    first = steps[0].at.timestamp()
    last = max(until.timestamp(), first + 1)
    x = Scale(low=first, high=last, start=canvas.left, end=canvas.right)
    y = Scale(low=0.0, high=1.0, start=canvas.bottom, end=canvas.top)
    enrolled = _stairs([(step.at, step.enrolled) for step in steps], until, x, y)
    challenger = _stairs([(step.at, step.challenger) for step in steps], until, x, y)
    floor = [(canvas.left, canvas.bottom), (canvas.right, canvas.bottom)]
    return figure(
        *_grid(canvas, x, y),
        band(enrolled, floor, class_="share enrolled"),
        band(challenger, floor, class_="share challenger"),
        line(enrolled, class_="share-line enrolled"),
        line(challenger, class_="share-line challenger"),
        canvas=canvas,
        label=words,
        kind="traffic",
    )


def _stairs(
    values: Sequence[tuple[datetime, float]], until: datetime, x: Scale, y: Scale
) -> list[Point]:
    points: list[Point] = []
    for at, value in values:
        place = x.clamped(at.timestamp())
        if points:
            points.append((place, points[-1][1]))
        points.append((place, y(value)))
    points.append((x.clamped(until.timestamp()), points[-1][1]))
    return points


def _grid(canvas: Canvas, x: Scale, y: Scale) -> Iterator[Markup]:
    for value in (0.0, 0.5, 1.0):
        place = y(value)
        yield element("path", d=f"M{canvas.left} {number(place)}H{canvas.right}", class_="grid")
        yield label(f"{value:.0%}", canvas.left - 7, place + 4, class_="tick", text_anchor="end")
    for at, text in time_ticks(x.low, x.high, canvas.columns):
        if canvas.left + 10 < x(at) < canvas.right - 18:
            yield label(text, x(at), canvas.bottom + 22, class_="tick", text_anchor="middle")
    yield label("UTC", canvas.right, canvas.bottom + 40, class_="tick", text_anchor="end")
