"""The picture of one comparison over time: estimate, interval, zero, margin, stages, decisions.

The vertical scale follows the later looks, where the interval has become narrow; what lies outside
is cut at the edge and marked there, never silently dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from markupsafe import Markup

from controller.flow.numbers import Measure, share, signed
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
from controller.service.ui.charts.scales import Scale, decimals_of, ticks, time_ticks
from controller.service.ui.series import Excursion, Seen, thinned

MOST_NARROW: Final = 36


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A decision on the time axis.

    Attributes
    ----------
    shape : str
        A glyph of `charts.marks.GLYPHS`.
    kind : str
        What all marks of its shape and tone have in common.
    """

    at: datetime
    shape: str
    tone: str
    kind: str
    words: str

    @property
    def glyph(self) -> str:
        """The letter that looks like its shape."""
        return {"up": "▲", "down": "▼", "diamond": "◆", "square": "■", "bars": "❚❚"}[self.shape]


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What one picture tells.

    Attributes
    ----------
    seen : sequence of Seen
        At least one look, in order.
    better : float
        +1 where an increase is better, -1 where a decrease is.
    guards : bool
        The metric is a guardrail: its margin is drawn as the limit.
    peeked : Excursion or None
        Marked along the top, where a single look would have decided.
    words : str
        What the picture shows, for those who do not see it.
    """

    seen: Sequence[Seen]
    measure: Measure
    better: float
    guards: bool
    marks: Sequence[Mark]
    peeked: Excursion | None
    words: str


def difference_chart(story: Story) -> Markup:
    """Draw a comparison for either width of page."""
    return on_both(partial(_draw, story))


def along(seen: Sequence[Seen], one: Seen) -> float:
    """How far along the time axis a look lies, in [0, 1]; the slider's cursor goes there."""
    return _across(seen, 0.0, 1.0)(one.at.timestamp())


def limits(seen: Sequence[Seen], *, guards: bool) -> tuple[float, float]:
    """A domain that the last looks fill; wide early intervals are cut."""
    tail = seen[len(seen) // 4 :]
    ends = [abs(end) for one in tail for end in (one.low, one.high) if end is not None]
    sizes = [abs(one.estimate) for one in seen if one.estimate is not None]
    last = seen[-1]
    final = [abs(end) for end in (last.low, last.high, last.estimate) if end is not None]
    most = max(final, default=0.0) * 3.0
    reach = max([_upper_middle(ends), *final, min(max(sizes, default=0.0), most)])
    reach = min(reach, most) if most else reach
    kept = [
        value
        for one in seen
        for value in (one.low, one.high, one.estimate)
        if value is not None and abs(value) <= reach
    ]
    if guards:
        kept += [side * one.margin for one in seen[-1:] if one.margin for side in (1, -1)]
    low, high = min([0.0, *kept]), max([0.0, *kept])
    if low == high:
        low, high = -1.0, 1.0
    pad = 0.08 * (high - low)
    return low - pad, high + pad


def _upper_middle(values: list[float]) -> float:
    return sorted(values)[int(0.7 * (len(values) - 1))] if values else 0.0


def is_within(seen: Sequence[Seen], mark: Mark) -> bool:
    """Whether a picture of these looks shows a mark."""
    return bool(seen) and _is_on(_across(seen, 0.0, 1.0), mark)


def _is_on(x: Scale, mark: Mark) -> bool:
    return x.low - 1 <= mark.at.timestamp() <= x.high + 1


def _across(seen: Sequence[Seen], start: float, end: float) -> Scale:
    first, last = seen[0].at.timestamp(), seen[-1].at.timestamp()
    return Scale(low=first, high=max(last, first + 1.0), start=start, end=end)


# ---------------------------------------------------------------- drawing


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    canvas: Canvas
    x: Scale
    y: Scale

    def at(self, seen: Seen) -> float:
        return self.x(seen.at.timestamp())


def _draw(story: Story, canvas: Canvas) -> Markup:
    seen = thinned(story.seen, MOST_NARROW) if canvas.narrow else story.seen
    low, high = limits(story.seen, guards=story.guards)
    frame = _Frame(
        canvas=canvas,
        x=_across(story.seen, canvas.left, canvas.right),
        y=Scale(low=low, high=high, start=canvas.bottom, end=canvas.top),
    )
    zero = number(frame.y(0.0))
    return figure(
        *_grid(frame, story.measure),
        *_stages(frame, story.seen, story.marks),
        *_interval(frame, seen),
        element("path", d=f"M{canvas.left} {zero}H{canvas.right}", class_="zero"),
        *(_margin(frame, seen, story.better) if story.guards else ()),
        *_estimate(frame, seen),
        *_peeked(frame, story.peeked),
        *_sides(frame, story.better),
        *_marks(frame, story.marks),
        element("path", d=f"M0 {canvas.top}V{canvas.bottom}", class_="cursor", visibility="hidden"),
        canvas=canvas,
        label=story.words,
        kind="difference",
    )


def _grid(frame: _Frame, measure: Measure) -> Iterator[Markup]:
    canvas = frame.canvas
    values = ticks(frame.y.low * measure.factor, frame.y.high * measure.factor, 5)
    decimals = decimals_of(values)
    for value in values:
        y = frame.y(value / measure.factor)
        yield element("path", d=f"M{canvas.left} {number(y)}H{canvas.right}", class_="grid")
        text = "0" if value == 0 else signed(value, decimals)
        yield label(text, canvas.left - 7, y + 4, class_="tick", text_anchor="end")
    for at, text in time_ticks(frame.x.low, frame.x.high, canvas.columns):
        x = frame.x(at)
        if canvas.left + 10 < x < canvas.right - 18:
            yield label(text, x, canvas.bottom + 22, class_="tick", text_anchor="middle")
    yield label("UTC", canvas.right, canvas.bottom + 40, class_="tick", text_anchor="end")


def _stages(frame: _Frame, seen: Sequence[Seen], marks: Sequence[Mark]) -> Iterator[Markup]:
    """A thin line where the enrolled share changed, and the share at the top.

    The decision that changed it has a line of its own, some time before the first look after it:
    then the share stands there.
    """
    canvas = frame.canvas
    earlier: Seen | None = None
    free_from = -100.0
    for one in seen:
        if earlier is None or one.enrolled != earlier.enrolled:
            mark = _raised_by(marks, earlier, one)
            x = frame.x.clamped(mark.at.timestamp()) if mark else frame.at(one)
            if earlier is not None and mark is None:
                yield element(
                    "path", d=f"M{number(x)} {canvas.top - 20}V{canvas.bottom}", class_="stage"
                )
            text = share(one.enrolled) if canvas.narrow else f"{share(one.enrolled)} enrolled"
            room = 42.0 if canvas.narrow else 100.0
            if free_from <= x <= canvas.right - room:
                yield label(text, x + 5, canvas.top - 10, class_="tick")
                free_from = x + room
        earlier = one


def _raised_by(marks: Sequence[Mark], earlier: Seen | None, one: Seen) -> Mark | None:
    """The newest mark between two looks; what was marked before the first is not in the picture."""
    if earlier is None:
        return None
    between = [mark for mark in marks if earlier.at < mark.at <= one.at and mark.shape == "up"]
    return between[-1] if between else None


def _sides(frame: _Frame, better: float) -> Iterator[Markup]:
    """Words for up and down, since a smaller cost is the better one."""
    canvas = frame.canvas
    up, down = ("better", "worse") if better > 0 else ("worse", "better")
    who = "" if canvas.narrow else "challenger "
    if frame.y(0.0) - canvas.top > 40:
        text = f"▲ {who}{up}"
        yield label(text, canvas.right - 4, canvas.top + 20, class_="side", text_anchor="end")
    if canvas.bottom - frame.y(0.0) > 40:
        text = f"▼ {who}{down}"
        yield label(text, canvas.right - 4, canvas.bottom - 10, class_="side", text_anchor="end")


def _interval(frame: _Frame, seen: Sequence[Seen]) -> Iterator[Markup]:
    """The interval as an area; an open end reaches the edge of the picture."""
    upper: list[Point] = []
    lower: list[Point] = []
    cut: dict[str, tuple[float, float, str]] = {}
    for one in seen:
        if one.low is None and one.high is None:
            continue
        x = frame.at(one)
        high = frame.y.high if one.high is None else one.high
        low = frame.y.low if one.low is None else one.low
        upper.append((x, frame.y.clamped(high)))
        lower.append((x, frame.y.clamped(low)))
        if high > frame.y.high:
            cut["up"] = (
                x,
                frame.canvas.top + 6,
                "The interval reaches above the picture until here",
            )
        if low < frame.y.low:
            cut["down"] = (
                x,
                frame.canvas.bottom - 6,
                "The interval reaches below the picture until here",
            )
    if len(upper) == 1:
        x, top = upper[0]
        yield element("path", d=f"M{number(x)} {number(top)}V{number(lower[0][1])}", class_="span")
    elif upper:
        yield band(upper, lower, class_="band")
        yield line(upper, class_="edge")
        yield line(lower, class_="edge")
    for shape, (x, y, words) in cut.items():
        yield element("g", element("title", words), glyph(shape, x, y), class_="cut")


def _margin(frame: _Frame, seen: Sequence[Seen], better: float) -> Iterator[Markup]:
    points = [
        (frame.at(one), frame.y.clamped(-better * one.margin))
        for one in seen
        if one.margin is not None
    ]
    if points:
        left = frame.canvas.left
        start: list[Point] = [] if len(points) > 1 else [(left, points[0][1])]
        yield line([*start, *points], class_="margin")
        yield label("limit", left + 6, points[0][1] - 6, class_="margin-label")


def _estimate(frame: _Frame, seen: Sequence[Seen]) -> Iterator[Markup]:
    points = [
        (frame.at(one), frame.y.clamped(one.estimate)) for one in seen if one.estimate is not None
    ]
    yield line(points, class_="estimate")
    if points:
        x, y = points[-1]
        yield element("circle", cx=number(x), cy=number(y), r="4.5", class_="latest")


def _peeked(frame: _Frame, peeked: Excursion | None) -> Iterator[Markup]:
    """A strip along the top edge, over the looks at which a single look would have decided."""
    if peeked is None:
        return
    for first, last in peeked.spans:
        start = frame.at(first)
        end = max(frame.at(last), start + 4)
        yield element(
            "rect",
            element("title", "Here a test that is looked at once would have decided"),
            x=number(start),
            y=number(frame.canvas.top),
            width=number(end - start),
            height="7",
            class_="peeked",
        )


def _marks(frame: _Frame, marks: Sequence[Mark]) -> Iterator[Markup]:
    top, bottom = number(frame.canvas.top), number(frame.canvas.bottom)
    for mark in marks:
        if _is_on(frame.x, mark):
            x = frame.x.clamped(mark.at.timestamp())
            yield element(
                "g",
                element("title", mark.words),
                element("path", d=f"M{number(x)} {top}V{bottom}", class_="when"),
                glyph(mark.shape, x, frame.canvas.bottom),
                class_=f"mark {mark.tone}",
            )
