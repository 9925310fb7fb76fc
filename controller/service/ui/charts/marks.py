"""SVG as text: elements with escaped attributes, paths of numbers, nothing a browser could run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from markupsafe import Markup, escape

from controller.service.ui.charts.canvas import Canvas

Point = tuple[float, float]
GLYPHS: Final = {
    "up": "M0 -7 7 5 -7 5Z",
    "down": "M0 7 7 -5 -7 -5Z",
    "diamond": "M0 -7 7 0 0 7 -7 0Z",
    "square": "M-5 -5H5V5H-5Z",
    "bars": "M-5 -6H-1.5V6H-5ZM1.5 -6H5V6H1.5Z",
}


def element(tag: str, *children: Markup | str, **attributes: object) -> Markup:
    """One element. `class_` is class, `_` in other names is `-`; None leaves an attribute out."""
    named = "".join(
        f' {_attribute(name)}="{escape(_value(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    inner = Markup("").join(children)
    return Markup(f"<{tag}{named}>{inner}</{tag}>" if inner else f"<{tag}{named}/>")  # noqa: S704


def figure(*children: Markup, canvas: Canvas, label: str, kind: str) -> Markup:
    """A drawing on a sheet; stylesheets size it. `label` says what it shows; empty: decoration."""
    spoken: dict[str, object] = {"role": "img", "aria_label": label}
    return element(
        "svg",
        *children,
        class_=f"chart {kind} {canvas.name}",
        viewBox=f"0 0 {number(canvas.width)} {number(canvas.height)}",
        data_left=number(canvas.left),
        data_right=number(canvas.right),
        focusable="false",
        **(spoken if label else {"aria_hidden": "true"}),
    )


def line(points: Iterable[Point], **attributes: object) -> Markup:
    """An open line through the points."""
    return element("path", d=path(points), **attributes)


def band(upper: Sequence[Point], lower: Sequence[Point], **attributes: object) -> Markup:
    """The area between two lines."""
    return element("path", d=path([*upper, *reversed(lower)]) + "Z", **attributes)


def glyph(shape: str, x: float, y: float, **attributes: object) -> Markup:
    """One of `GLYPHS`, about 14 units wide."""
    return element(
        "path", d=GLYPHS[shape], transform=f"translate({number(x)} {number(y)})", **attributes
    )


def label(text: str, x: float, y: float, **attributes: object) -> Markup:
    """A piece of text."""
    return element("text", escape(text), x=number(x), y=number(y), **attributes)


def path(points: Iterable[Point]) -> str:
    """Path data through the points; empty for none."""
    found = " ".join(f"{number(x)} {number(y)}" for x, y in points)
    return f"M{found}" if found else ""


def number(value: float) -> str:
    """At most one decimal, which is finer than a pixel."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def _attribute(name: str) -> str:
    return "class" if name == "class_" else name.replace("_", "-")


def _value(value: object) -> object:
    return number(value) if isinstance(value, float) else value
