"""One comparison on a page: its numbers, its pictures, its table and what they say in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import NormalDist
from typing import Any, Final, Literal

from markupsafe import Markup

from controller.experiments.plans import CHAMPION
from controller.flow import numbers
from controller.flow.differing import differing, stage_decimals, stage_words
from controller.flow.numbers import Measure, half_width, interval_text, measure_of
from controller.rollout.states import State
from controller.service.ui import times, words
from controller.service.ui.charts import difference, strength
from controller.service.ui.charts.difference import Mark, Story, difference_chart
from controller.service.ui.charts.strength import Contest, strength_chart
from controller.service.ui.series import (
    Excursion,
    Seen,
    excursion,
    history,
    thinned,
)
from controller.service.ui.view import View
from controller.service.ui.words import Badge


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The numbers of one comparison as text, all at one precision.

    Attributes
    ----------
    estimate, interval, relative : str
        Challenger minus champion, with its unit.
    level : str
        Of the interval.
    instead : str
        What stands where an interval is not known.
    """

    estimate: str
    interval: str
    relative: str
    level: str
    margin: str
    instead: str

    @property
    def brief(self) -> str:
        """Estimate and interval in one breath."""
        known = self.interval != numbers.UNKNOWN
        return f"{self.estimate} ({self.interval})" if known else f"{self.estimate}, {self.instead}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One look in the table; the `along` are its places in the two pictures, in [0, 1]."""

    look: int
    at: datetime
    n: str
    estimate: str
    interval: str
    t: str
    z: str
    bound: str
    along_time: str
    along_evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One arm's line: what serves, how many units, and their level."""

    name: str
    model: str
    n: str
    open: str
    missing: str
    level: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StageLine:
    """One stage's own difference; `part` is its share of the difference shown."""

    name: str
    estimate: str
    error: str
    n: str
    part: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Everything shown of one challenger on one metric.

    Attributes
    ----------
    about : str
        The arm with its model where there are several challengers; else empty.
    dropped : bool
        This challenger was given up: its numbers are history.
    stages : tuple of StageLine
        The effect stage by stage, where there are several; `agreement` says whether they agree,
        `differing` what the difference is an average of where they do not.
    resolution : str
        How exact the levels of a quantile are; empty for other metrics.
    validity : str
        When the interval holds: at every look, or as of the look that ended its test.
    gathered : str
        How much of the planned evidence there is, or when its test looks for the first time.
    marks : tuple of Mark
        The decisions in the picture, one of each kind: its legend.
    """

    id: str
    metric: str
    arm: str
    about: str
    dropped: bool
    direction: str
    decides: bool
    badge: Badge
    reason: str
    figures: Figures
    validity: str
    n: int
    gathered: str
    planned: bool
    marks: tuple[Mark, ...]
    arms: tuple[Arm, ...]
    rows: tuple[Row, ...]
    difference: Markup | None
    strength: Markup | None
    difference_words: str
    strength_words: str
    excursion: str | None
    crossing: str | None
    crossing_tone: str
    stages: tuple[StageLine, ...]
    agreement: str
    differing: str
    resolution: str


def figures_of(comparison: Mapping[str, Any], measure: Measure, *, over: bool = False) -> Figures:
    """The numbers of a comparison of a status or evidence document."""
    interval = comparison["interval"] or {"low": None, "high": None, "level": None}
    estimate, low, high = comparison["estimate"], interval["low"], interval["high"]
    decimals = measure.decimals(half_width(low, high, estimate), comparison["margin"])
    level = interval["level"]
    return Figures(
        estimate=measure.difference(estimate, decimals),
        interval=interval_text(low, high, measure, decimals),
        relative=numbers.relative(comparison["relative"]),
        level="" if level is None else f"{100 * level:.4g}%",
        margin=measure.level(comparison["margin"])
        if measure.kind == "plain"
        else measure.difference(comparison["margin"], decimals).lstrip("+"),
        instead=_instead(comparison, over=over),
    )


def validity_of(comparison: Mapping[str, Any]) -> str:
    """When an interval holds: that of a planned test that is over is its last look's, and stays."""
    test = next((one for one in comparison["tests"] if one["claim"] != "harm"), None)
    if test is None or test["mode"] != "planned" or test["crossed"] is None:
        return "holds however often one looks"
    return f"as of look {test['crossed']['look']}, where its test ended"


def _instead(comparison: Mapping[str, Any], *, over: bool) -> str:
    """What is known without an interval: the harm alarm has a p-value of its own."""
    alarm = next((one for one in comparison["tests"] if one["claim"] == "harm"), None)
    if comparison["verdict"] == "harm" and alarm is not None and alarm.get("p") is not None:
        return f"harm alarm, {numbers.p_value(alarm['p'])}"
    return "no interval" if over or comparison["verdict"] == "harm" else "no interval yet"


def panels_of(view: View, *, prefix: str = "") -> list[Panel]:
    """Every comparison of the newest look, the metric that decides first.

    Parameters
    ----------
    prefix : str
        Tells the panels of one page apart where it shows a comparison twice.
    """
    shown = [
        panel_of(view, metric, comparison, prefix=prefix)
        for metric in view.status["metrics"]
        for comparison in metric["comparisons"]
    ]
    return sorted(shown, key=lambda panel: not panel.decides)


def panel_of(
    view: View, metric: Mapping[str, Any], comparison: Mapping[str, Any], *, prefix: str = ""
) -> Panel:
    """One comparison with its history."""
    key, arm = metric["key"], comparison["arm"]
    decides = metric["role"] == "oec"
    definition = view.metric(key)
    measure = measure_of(definition)
    better = definition.better if definition else 1.0
    seen = history(view.looks, key, arm, view.compared_in)
    test = comparison["tests"][0]
    planned = test["mode"] == "planned"
    sides: Literal[1, 2] = 2 if test["claim"] == "superior" else 1
    undecided = planned and decides and test["crossed"] is None
    peeked = excursion(seen, alpha=test["alpha"], sides=sides) if undecided else None
    dropped = any(one["arm"] == arm for one in view.status["dropped"])
    over = view.over or dropped
    figures = figures_of(comparison, measure, over=over)
    drawn = [one for one in thinned(seen) if one.estimate is not None]
    crossing = _crossing_words(test)
    marks = marks_of(view)
    says = _difference_words(key, figures, drawn)
    strong = _strength_words(drawn, peeked) if planned else ""
    stands = view.watched and view.state is State.PROMOTED
    badge = words.finding(comparison["verdict"], decides=decides, over=over, watched=stands)
    return Panel(
        id=f"{prefix}{key}-{arm}",
        metric=key,
        arm=arm,
        about=arm_words(view, arm),
        dropped=dropped,
        direction="higher is better" if better > 0 else "lower is better",
        decides=decides,
        badge=badge,
        reason=words.why(metric, comparison),
        figures=figures,
        validity=validity_of(comparison),
        n=sum(one["n"] for one in metric["arms"].values()),
        gathered=_gathered_words(view, test),
        planned=planned,
        marks=tuple(_legend(marks, drawn)),
        arms=tuple(_arms(view, metric, measure)),
        rows=tuple(_rows(drawn, measure, comparison)),
        difference=difference_chart(
            Story(
                seen=drawn,
                measure=measure,
                better=better,
                guards=not decides,
                marks=marks,
                peeked=peeked,
                words=says,
            )
        )
        if drawn
        else None,
        strength=strength_chart(
            Contest(seen=drawn, naive=_naive(test, sides), sides=sides, words=strong)
        )
        if drawn and planned and any(one.z is not None for one in drawn)
        else None,
        difference_words=says,
        strength_words=strong,
        excursion=_excursion_words(peeked, seen, over=view.state.terminal),
        crossing=crossing,
        crossing_tone=_crossing_tone(test),
        stages=tuple(_stages(comparison, measure)),
        agreement=_agreement_words(comparison),
        differing=differing(comparison, measure),
        resolution=_resolution_words(metric),
    )


def arm_words(view: View, arm: str) -> str:
    """An arm with its model, where several challengers have to be told apart; else nothing."""
    if view.plan is None or len(view.plan.challengers) < 2:
        return ""
    return f"{arm} ({view.plan.arms[arm].label})"


def _naive(test: Mapping[str, Any], sides: int) -> float:
    return NormalDist().inv_cdf(1 - test["alpha"] / sides)


def _arms(view: View, metric: Mapping[str, Any], measure: Measure) -> list[Arm]:
    models = {} if view.plan is None else view.plan.arms
    return [
        Arm(
            name=name,
            model=models[name].label if name in models else name,
            n=numbers.count(seen["n"]),
            open=numbers.count(seen["open"]),
            missing=numbers.count(seen["missing"]),
            level=measure.level(seen["mean"]),
        )
        for name, seen in sorted(metric["arms"].items(), key=lambda item: item[0] != CHAMPION)
    ]


def _stages(comparison: Mapping[str, Any], measure: Measure) -> list[StageLine]:
    effects = comparison["epochs"]["effects"] if comparison.get("epochs") else []
    decimals = stage_decimals(effects, measure)
    return [
        StageLine(
            name=stage_words(one, effects),
            estimate=measure.difference(one["estimate"], decimals),
            error=measure.difference(one["standard_error"], decimals).lstrip("+"),
            n=numbers.count(one["n_champion"] + one["n_challenger"]),
            part=numbers.share(one["share"]),
            note="" if one["tested"] else "too few units to compare it with the others",
        )
        for one in effects
    ]


def _agreement_words(comparison: Mapping[str, Any]) -> str:
    """The test behind it: one p-value for looking at every look, one for a single look."""
    epochs = comparison.get("epochs")
    if not epochs:
        return ""
    if epochs["p"] is None:
        return "Too few units in all but one stage to say whether they agree."
    return (
        f"That all stages have the same effect: {numbers.p_value(epochs['p'])}, however often one "
        f"looks ({numbers.p_value(epochs['p_single_look'])} in Cochran's test, which is meant for "
        "one look). It describes; the test that decides averages the stages as planned."
    )


def _resolution_words(metric: Mapping[str, Any]) -> str:
    error = metric.get("relative_error")
    if not error:
        return ""
    return (
        f"Levels are read between the cuts of a grid that was fixed before the start, {error:.2%} "
        "apart: by so much each may be off."
    )


def _rows(drawn: Sequence[Seen], measure: Measure, comparison: Mapping[str, Any]) -> list[Row]:
    """The looks that the pictures show, at the precision of the newest."""
    interval = comparison["interval"] or {"low": None, "high": None}
    width = half_width(interval["low"], interval["high"], comparison["estimate"])
    decimals = measure.decimals(width, comparison["margin"])
    return [
        Row(
            look=one.look,
            at=one.at,
            n=numbers.count(one.n),
            estimate=measure.difference(one.estimate, decimals),
            interval=interval_text(one.low, one.high, measure, decimals),
            t=numbers.planned(None if one.z is None else one.t),
            z=numbers.score(one.z),
            bound=numbers.UNKNOWN if one.bound is None else f"{one.bound:.2f}",
            along_time=f"{difference.along(drawn, one):.4f}",
            along_evidence=f"{strength.along(drawn, one):.4f}",
        )
        for one in drawn
    ]


_RAISED: Final = ("up", "busy", "started, raised or resumed")
_PROMOTED: Final = ("up", "good", "promoted")
_BACK: Final = ("down", "bad", "back to the champion")
_SHAPES: Final[Mapping[str, tuple[str, str, str]]] = {
    "start": _RAISED,
    "advance": _RAISED,
    "promote": _PROMOTED,
    "complete": _PROMOTED,
    "pause": ("bars", "care", "paused"),
    "resume": _RAISED,
    "proposal_opened": ("diamond", "care", "put before people"),
    "roll_back": _BACK,
    "undo": _BACK,
    "kill": ("square", "bad", "kill switch"),
}


def marks_of(view: View) -> list[Mark]:
    """The decisions that belong on a time axis."""
    found = [(one, *_SHAPES[one.action]) for one in view.decisions if one.action in _SHAPES]
    return [
        Mark(
            at=one.at,
            shape=shape,
            tone=tone,
            kind=kind,
            words=f"{words.action(one.action)}, {times.full(one.at)}, by {one.actor}",
        )
        for one, shape, tone, kind in found
    ]


def _legend(marks: Sequence[Mark], drawn: Sequence[Seen]) -> list[Mark]:
    """One mark of each kind that the picture shows."""
    return list({one.kind: one for one in marks if difference.is_within(drawn, one)}.values())


# ---------------------------------------------------------------- words


def _difference_words(key: str, figures: Figures, drawn: Sequence[Seen]) -> str:
    if not drawn:
        return f"No look at {key} yet."
    looks = numbers.plural(len(drawn), "look")
    return (
        f"Difference in {key}, challenger minus champion, over {looks} "
        f"until {times.full(drawn[-1].at)}: now {figures.estimate}, interval {figures.interval}."
    )


def _strength_words(drawn: Sequence[Seen], peeked: Excursion | None) -> str:
    scored = [one for one in drawn if one.z is not None]
    if not scored:
        return "No score yet."
    last = scored[-1]
    needed = "" if last.bound is None else f"; it must pass {last.bound:.2f}"
    part = numbers.planned(last.t)
    text = f"Score {numbers.score(last.z)} at {part} of the planned evidence{needed}."
    if peeked is not None:
        text += f" Its extreme was {numbers.score(peeked.peak.z)}."
    return text


def _gathered_words(view: View, test: Mapping[str, Any]) -> str:
    if test["mode"] != "planned":
        return "no planned end"
    if test["look"] == 0 and view.plan is not None:
        first = numbers.share(view.plan.policy.oec.first_look)
        return f"first test at {first} of the planned evidence"
    return f"{numbers.planned(test['t'])} of the planned evidence"


def _crossing_words(test: Mapping[str, Any]) -> str | None:
    crossed = test["crossed"]
    if crossed is None:
        return None
    at = times.instant(crossed["taken_at"])
    assert at is not None
    what = {
        "better": "The bound for “better” was crossed",
        "worse": "The bound for “worse” was crossed",
        "not_worse": "The limit was shown to hold",
        "harm": "The harm alarm went off",
        "futile": "The test became hopeless",
        "ended": "The test ended",
    }[crossed["direction"]]
    units = numbers.count(crossed["n"])
    return (
        f"{what} at look {crossed['look']}, {times.full(at)}, on {units} complete units. "
        "That result stands; later looks are shown and decide nothing."
    )


def _crossing_tone(test: Mapping[str, Any]) -> str:
    direction = (test["crossed"] or {}).get("direction")
    return {"better": "good", "not_worse": "good", "worse": "bad", "harm": "bad"}.get(
        direction or "", "quiet"
    )


def _excursion_words(peeked: Excursion | None, seen: Sequence[Seen], *, over: bool) -> str | None:
    """Why a score that looked convincing did not decide."""
    if peeked is None:
        return None
    peak = peeked.peak
    side = "better" if peeked.claims_better else "worse"
    asked = "" if peak.bound is None else f", so at that moment it asked for {peak.bound:.2f}"
    last = next((one for one in reversed(seen) if one.z is not None), peak)
    fell = abs(last.z or 0.0) < 0.9 * abs(peak.z or 0.0)
    then = f"It then fell back to {numbers.score(last.z)}" if fell else "It was not reached"
    if over:
        needed = "" if last.bound is None else f", where {last.bound:.2f} was needed"
        then += (
            f", and its time was over at {numbers.planned(last.t)} of the planned evidence{needed}"
        )
    return (
        f"At look {peak.look}, with {numbers.planned(peak.t)} of the planned evidence, the score "
        f"stood at {numbers.score(peak.z)}. A test that is looked at only once asks for "
        f"{peeked.naive:.2f} and would have called the challenger {side}. This test is looked at "
        f"all the time{asked}. {then}."
    )
