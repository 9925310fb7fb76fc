"""The verdict in a box: what is recommended, why, why not yet, and what would change it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from controller.flow import numbers
from controller.rollout.states import State
from controller.service.ui import words
from controller.service.ui.panels import Panel, arm_words
from controller.service.ui.view import View

MOST_FLIPS = 3
_TELLING = ("oec.", "guardrail.", "harm.", "integrity.srm", "fresh.")
"""Clauses whose turning over people can picture, the most telling first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A clause or guard in words: how it came out, what was observed against what.

    Attributes
    ----------
    flip : str
        What would turn it over, to be read after "if" or "until"; or `never:` and why.
    """

    name: str
    text: str
    result: str
    detail: str
    flip: str

    @property
    def until(self) -> str:
        """How long it stands as it does, as a sentence without its first capital."""
        never, _, why = self.flip.partition("never: ")
        return f"until {self.flip}." if never or not why else f"not in this attempt: {why}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """The verdict box of a rollout's page."""

    tone: str
    glyph: str
    title: str
    why: tuple[str, ...]
    waiting: tuple[Condition, ...]
    people: str | None
    flips: tuple[Condition, ...]
    clauses: tuple[Condition, ...]


def box_of(view: View, panels: list[Panel]) -> Box:
    """What the evidence and the policy say together."""
    tone, glyph, title = _headline(view)
    clauses = tuple(_clause(view, one) for one in view.status["verdict"]["clauses"])
    waiting = [one for one in view.status["next"]["waiting_on"] if one["guard"] != "approved"]
    live = not view.state.terminal
    return Box(
        tone=tone,
        glyph=glyph,
        title=title,
        why=tuple(_why(view, panels)),
        waiting=tuple(_guard(one) for one in waiting) if live else (),
        people=_people(view),
        flips=_flips(clauses, view.status["verdict"]["blockers"])
        if live and view.state is not State.ROLLING_BACK
        else (),
        clauses=clauses,
    )


def _flips(clauses: tuple[Condition, ...], blockers: Sequence[str]) -> tuple[Condition, ...]:
    """What could still turn the verdict over, what blocks it first; what is settled cannot."""

    def rank(one: Condition) -> tuple[bool, int]:
        place = next(place for place, kind in enumerate(_TELLING) if one.name.startswith(kind))
        return one.name not in blockers, place

    open_ones = [
        one for one in clauses if one.name.startswith(_TELLING) and not one.flip.startswith("never")
    ]
    return tuple(sorted(open_ones, key=rank)[:MOST_FLIPS])


def _reason(view: View) -> str:
    """Why the verdict is what it is; where outcomes of an arm are missing, of which."""
    verdict = view.status["verdict"]
    causes = {one["cause"] for one in verdict["held"] if one["reason"] == verdict["reason"]}
    return words.held(verdict["reason"], [_arm(view, cause) for cause in sorted(causes)])


def _arm(view: View, name: str) -> str:
    """An arm with its model, where several challengers have to be told apart."""
    return arm_words(view, name) or f"the {name}"


def _headline(view: View) -> tuple[str, str, str]:
    """Tone, glyph and title, by what most needs to be known."""
    status, state = view.status, view.state
    verdict = status["verdict"]
    reason = _reason(view)
    ended = _ended(view, reason)
    if ended is not None:
        return ended
    if status["killed"]:
        return "bad", "■", "The kill switch is on: nobody meets the challenger"
    if status["paused"]:
        why = " and ".join(words.PAUSES.get(one, one.replace("_", " ")) for one in status["paused"])
        return "care", "◆", f"Held: {why}"
    if state in (State.PROMOTING, State.BAKING):
        return "good", "▲", "Promoted, and still being watched"
    if view.proposal is not None:
        what = words.TRANSITIONS.get(view.proposal["transition"], view.proposal["transition"])
        return "care", "◆", f"People are asked to {what}"
    return {
        "promote": ("good", "▲", "Promotion is recommended"),
        "roll_back": ("bad", "▼", f"Going back to the champion: {reason}"),
        "hold": ("care", "◆", f"Hold: {reason}"),
        "continue": ("busy", "●", "The test goes on"),
    }.get(verdict["recommendation"], ("quiet", "○", "Nothing to judge yet"))


def _ended(view: View, reason: str) -> tuple[str, str, str] | None:
    verdict = view.status["verdict"]["value"]
    if view.state is State.PROMOTED:
        return "good", "▲", f"{view.challenger} is the champion"
    if view.state in (State.ROLLED_BACK, State.ROLLING_BACK):
        if verdict == "NO_DIFFERENCE":
            return "quiet", "◇", "No difference was shown, so the champion stays"
        return "bad", "▼", f"Back with the champion: {reason}"
    if view.state in (State.CANCELLED, State.SUPERSEDED):
        return "quiet", "×", "Ended before anybody met the challenger"
    return None


def _why(view: View, panels: list[Panel]) -> list[str]:
    """The reason, then what each metric says."""
    reason = _reason(view)
    said = [reason[:1].upper() + reason[1:] + "."] if reason else []
    since = "Since its promotion, " if view.watched else ""
    return said + [
        f"{since}{panel.metric}{f' of {panel.about}' if panel.about else ''}: "
        f"{panel.figures.brief}, {panel.badge.word.lower()}, "
        f"on {numbers.count(panel.n)} complete units."
        for panel in panels
        if panel.n and not panel.dropped
    ]


def _people(view: View) -> str | None:
    proposal = view.proposal
    if proposal is None:
        if view.status["next"]["people"] == "operator":
            return "An operator must ask for it: the policy does not let the service do it unasked."
        return None
    have, need = proposal["have"], proposal["need"]
    if have >= need:
        return "Everybody needed has approved; it happens as soon as nothing else is waited for."
    people = numbers.plural(need - have, "more person", "more people")
    return f"{people} must approve ({have} of {need} have)."


def _clause(view: View, one: Mapping[str, Any]) -> Condition:
    return Condition(
        name=one["id"],
        text=_asks(view, one["id"]),
        result=one["result"],
        detail=_detail(one["id"], one["observed"], one["threshold"]),
        flip=words.humane(one["flip_if"]),
    )


def _asks(view: View, name: str) -> str:
    """What a clause asks for; the arm that its name ends with is told with its model."""
    for arm in view.plan.challengers if view.plan else ():
        if name.endswith(f".{arm}") and arm_words(view, arm):
            return words.clause(name.removesuffix(f".{arm}"), of=arm_words(view, arm))
    return words.clause(name)


def _guard(one: Mapping[str, Any]) -> Condition:
    return Condition(
        name=one["guard"],
        text=words.clause(one["guard"]),
        result="unknown",
        detail=_detail(one["guard"], one["observed"], one["threshold"]),
        flip=words.humane(one["flip_if"]),
    )


def _detail(name: str, observed: Any, threshold: Any) -> str:
    """Observed against threshold, where both are numbers that a person can weigh."""
    if isinstance(observed, bool) or isinstance(threshold, bool | str | dict | list):
        return ""
    if not isinstance(observed, int | float):
        return ""
    shown = words.observed_in(name, observed)
    if not isinstance(threshold, int | float):
        return shown
    return (
        f"{shown} of {words.observed_in(name, threshold)}"
        if name.startswith(("stage.", "bake.", "aa."))
        else f"{shown}, limit {words.observed_in(name, threshold)}"
    )
