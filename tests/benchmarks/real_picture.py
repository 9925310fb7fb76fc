"""Three real experiments in one picture: a t-test's interval inside one that may be peeked at.

python -m tests.benchmarks.real_experiments --picture docs/images/real-experiments.svg
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from controller.analysis import analyze
from tests.benchmarks.real_experiments import ASOS, DATA, bandit

WIDTH, HEIGHT, TOP, BOTTOM, GAP = 300.0, 250.0, 46.0, 34.0, 20.0
CRITICAL = 1.96
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328; }
.head { font-weight: 600; } .small { font-size: 11px; fill: #59636e; }
.always { fill: #8fb8e8; fill-opacity: .55; } .peeked { fill: #0b4f9c; fill-opacity: .55; }
.estimate { fill: none; stroke: #0b2f5c; stroke-width: 1.5; }
.zero { stroke: #59636e; stroke-dasharray: 3 3; } .called { fill: #b3261e; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; } .small { fill: #9da7b1; }
  .always { fill: #2f5d8f; } .peeked { fill: #6fb1ff; }
  .estimate { stroke: #dcecff; } .zero { stroke: #9da7b1; } .called { fill: #ff8a80; }
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One experiment look by look.

    Attributes
    ----------
    looks : sequence of (estimate, fixed half width, low, high)
        The last two of the confidence sequence.
    """

    title: str
    below: str
    looks: Sequence[tuple[float, float, float, float]]


def panels() -> list[Panel]:
    """A novelty that faded, a claim that peeking invents, and one nearly shipped."""
    path = DATA / "asos" / "six_experiments.csv.gz"
    documents = {tuple(d["by"].values()): d["looks"] for d in analyze(path, ASOS).document}
    return [
        Panel(
            title="ASOS 3c9dfd, metric 2",
            below="a real start that fades: both call it",
            looks=_looks(documents["3c9dfd", "1"], "2", "treatment"),
        ),
        Panel(
            title="ASOS 8b436e, metric 4",
            below="peeking calls it; gone by the end",
            looks=_looks(documents["8b436e", "1"], "4", "treatment"),
        ),
        Panel(
            title="Open Bandit, campaign men",
            below="peeking ships it at look 4",
            looks=_looks(bandit()["looks"], "anytime", "bts"),
        ),
    ]


def _looks(
    looks: Sequence[dict[str, dict[str, dict[str, dict[str, object]]]]], key: str, arm: str
) -> list[tuple[float, float, float, float]]:
    out = []
    for look in looks:
        seen = look["metrics"].get(key, {}).get(arm)
        if seen is None or seen["ci"] is None or not seen["z"]:
            continue
        estimate, z, ci = seen["estimate"], seen["z"], seen["ci"]
        assert isinstance(estimate, float)
        assert isinstance(z, float)
        assert isinstance(ci, list)
        out.append((estimate, abs(CRITICAL * estimate / z), ci[0], ci[1]))
    return out


def picture() -> str:
    """The SVG, the same bytes for the same data."""
    drawn = panels()
    width = len(drawn) * (WIDTH + GAP) - GAP
    total = HEIGHT + 30.0
    body = "\n".join(
        line
        for index, panel in enumerate(drawn)
        for line in _panel(panel, left=index * (WIDTH + GAP))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {total:g}" role="img" '
        'aria-label="Three experiments: estimate, t-test interval and confidence sequence by look">'
        f"\n<style>{STYLE}</style>\n{body}\n{_legend(HEIGHT + 18.0)}\n</svg>\n"
    )


def _panel(panel: Panel, *, left: float) -> Iterator[str]:
    shown = panel.looks[2:]  # the first intervals are too wide to leave room for the others
    reach = max(*(abs(e) + h for e, h, _, _ in shown), *(max(-a, b) for *_, a, b in shown[4:]))

    def x(index: int) -> float:
        return left + index / max(len(shown) - 1, 1) * WIDTH

    def y(value: float) -> float:
        inside = max(-reach, min(reach, value))
        return TOP + (reach - inside) / (2.0 * reach) * (HEIGHT - TOP - BOTTOM)

    def band(kind: str, ends: Sequence[tuple[float, float]]) -> str:
        there = [f"{x(i):.1f},{y(high):.1f}" for i, (_, high) in enumerate(ends)]
        back = [f"{x(i):.1f},{y(low):.1f}" for i, (low, _) in enumerate(ends)]
        return f'<polygon class="{kind}" points="{" ".join([*there, *reversed(back)])}"/>'

    yield f'<text class="head" x="{left:g}" y="16">{panel.title}</text>'
    yield f'<text class="small" x="{left:g}" y="33">{panel.below}</text>'
    yield band("always", [(low, high) for _, _, low, high in shown])
    yield band("peeked", [(e - h, e + h) for e, h, _, _ in shown])
    ends = f'x1="{left:g}" x2="{left + WIDTH:g}" y1="{y(0):.1f}" y2="{y(0):.1f}"'
    yield f'<line class="zero" {ends}/>'
    line = " ".join(f"{x(i):.1f},{y(e):.1f}" for i, (e, *_) in enumerate(shown))
    yield f'<polyline class="estimate" points="{line}"/>'
    for index, (estimate, half, _, _) in enumerate(shown):
        if abs(estimate) > half:
            yield f'<circle class="called" cx="{x(index):.1f}" cy="{HEIGHT - BOTTOM + 8:g}" r="2"/>'
    foot = HEIGHT - 8
    yield f'<text class="small" x="{left:g}" y="{foot:g}">first looks</text>'
    yield (
        f'<text class="small" x="{left + WIDTH:g}" y="{foot:g}" text-anchor="end">'
        f"{len(panel.looks)} looks</text>"
    )


def _legend(y: float) -> str:
    marks = (
        (
            '<rect class="always" x="0" y="{top:g}" width="16" height="10"/>',
            22,
            "confidence sequence",
        ),
        (
            '<rect class="peeked" x="160" y="{top:g}" width="16" height="10"/>',
            182,
            "t-test interval",
        ),
        ('<line class="estimate" x1="290" x2="306" y1="{mid:g}" y2="{mid:g}"/>', 312, "difference"),
        ('<circle class="called" cx="400" cy="{mid:g}" r="3"/>', 410, "a t-test says different"),
    )
    return "\n".join(
        shape.format(top=y - 9.0, mid=y - 4.0)
        + f'<text class="small" x="{at}" y="{y:g}">{what}</text>'
        for shape, at, what in marks
    )
