"""The list of rollouts: what needs somebody first, then what is live, then what has ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

from markupsafe import Markup
from msgspec import Meta, Struct

from controller.experiments.metrics import Metric
from controller.flow import numbers
from controller.flow.numbers import measure_of
from controller.flow.ports.views import Indexed, Listed
from controller.flow.ports.work import Work
from controller.rollout.states import State
from controller.service.http.calls import Answer, Call
from controller.service.http.router import Route
from controller.service.ui.charts.sparkline import MOST, sparkline
from controller.service.ui.console import Console, page_route
from controller.service.ui.panels import Figures, figures_of
from controller.service.ui.series import BAKING_STATES, DECIDING_STATES, history
from controller.service.ui.view import View, promoted_on, read_view
from controller.service.ui.words import VERDICTS, Badge, finding, state_badge

PAGE: Final = 25
_URGENCY: Final = {"care": 0, "bad": 1, "good": 2, "busy": 3, "quiet": 4}


class ListQuery(Struct, forbid_unknown_fields=True):
    """Which rollouts, and where in the list of those that have ended."""

    find: Annotated[str, Meta(max_length=80)] = ""
    page: Annotated[int, Meta(ge=1, le=10_000)] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One rollout in the list."""

    id: str
    slot: str
    challenger: str
    champion: str
    badge: Badge
    stage: str
    share: str
    metric: str
    figures: Figures | None
    finding: Badge | None
    spark: Markup
    n: str
    changed_at: datetime
    needs_you: str


def rollouts_routes(pages: Console) -> list[Route]:
    """The first page, and its two parts that stay live: what moves often, what seldom does."""
    store = pages.runtime.store

    def show(call: Call) -> Answer:
        with store.reading() as work:
            return pages.page(
                call,
                "rollouts.html",
                work=work,
                here="rollouts",
                **_live(work, call, call.query),
                **_rest(work, call, call.query),
            )

    def live(call: Call) -> Answer:
        with store.reading() as work:
            context = _live(work, call, call.query)
            return pages.fragment(call, "_parts/rollouts_live.html", now=work.now, **context)

    def rest(call: Call) -> Answer:
        with store.reading() as work:
            context = _rest(work, call, call.query)
            return pages.fragment(call, "_parts/rollouts_rest.html", now=work.now, **context)

    return [
        page_route("GET", "/", "ui_rollouts", "The rollouts", show, query=ListQuery),
        page_route("GET", "/live", "ui_rollouts_live", "The live ones", live, query=ListQuery),
        page_route("GET", "/rest", "ui_rollouts_rest", "The others", rest, query=ListQuery),
    ]


def _live(work: Work, call: Call, asked: ListQuery) -> dict[str, Any]:
    """Every live rollout: what needs the person who looks first, then by urgency."""
    found = [one for one in work.views.index(call.project) if one.state.live]
    lines = [_line(work, call, one) for one in found if _matches(one, asked.find)]
    lines.sort(key=lambda line: (not line.needs_you, _URGENCY[line.badge.tone]))
    needs = [line for line in lines if line.needs_you]
    return {"lines": lines, "needs": needs, "sought": asked.find.strip()}


def _rest(work: Work, call: Call, asked: ListQuery) -> dict[str, Any]:
    """One page of drafts and of rollouts that have ended, the newest first."""
    index = work.views.index(call.project)
    found = [one for one in index if not one.state.live and _matches(one, asked.find)]
    found.sort(key=lambda one: one.ended_at or one.created_at, reverse=True)
    start = (asked.page - 1) * PAGE
    shown = found[start : start + PAGE]
    details = work.views.listed(call.project, [one.id for one in shown])
    return {
        "ended": [_resting(work, call, one, details[one.id]) for one in shown],
        "find": asked.find,
        "page": asked.page,
        "pages": max(1, -(-len(found) // PAGE)),
        "nothing": not index,
        "no_slots": not index and not work.definitions.slots(call.project),
    }


def _matches(rollout: Indexed, find: str) -> bool:
    wanted = find.strip().lower()
    names = [model.label for model in rollout.draft.challengers]
    shown = " ".join([rollout.slot, rollout.id, rollout.state.value, rollout.draft.owner, *names])
    return wanted in shown.lower()


def _line(work: Work, call: Call, rollout: Indexed) -> Line:
    view = read_view(work, call.project, rollout.id, most=MOST)
    status = view.status
    proposal = view.proposal
    deciding = _deciding(view)
    metric, comparison = deciding or ({}, {})
    seen = (
        history(view.looks, metric["key"], comparison["arm"], view.compared_in) if deciding else []
    )
    badge = state_badge(
        status["state"],
        paused=bool(status["paused"]),
        waiting=proposal is not None,
        killed=status["killed"],
        verdict=status["verdict"]["value"],
    )
    return Line(
        id=view.id,
        slot=rollout.slot,
        challenger=view.challenger,
        champion=view.champion.label,
        badge=badge,
        stage=_stage(status),
        share=numbers.share(status["challenger_traffic"]),
        metric=_about(metric["key"], view.compared_in) if deciding else "",
        figures=figures_of(comparison, measure_of(view.metric(metric["key"])))
        if deciding
        else None,
        finding=VERDICTS[comparison["verdict"]] if deciding else None,
        spark=sparkline(seen) if seen else Markup(""),
        n=numbers.count(sum(arm["n"] for arm in metric["arms"].values())) if deciding else "",
        changed_at=rollout.changed_at,
        needs_you=_needs(call, proposal, status),
    )


def _resting(work: Work, call: Call, rollout: Indexed, details: Listed) -> Line:
    """A rollout at rest, from its row and its newest look alone."""
    models = rollout.draft.challengers
    plan, found = details.plan, decided(work, call.project, rollout, details)
    champion = plan["arms"][0]["model"] if plan else None
    looks = work.evidence.looks(call.project, rollout.id, most=MOST) if found else []
    seen = history(looks, found.key, found.arm, found.states) if found else []
    return Line(
        id=rollout.id,
        slot=rollout.slot,
        challenger=" and ".join(model.label for model in models),
        champion=f"{champion['name']} {champion['version']}" if champion else "the champion",
        badge=state_badge(
            rollout.state.value,
            paused=False,
            waiting=False,
            killed=False,
            verdict=rollout.verdict.value,
        ),
        stage="",
        share="champion" if rollout.state is State.PROMOTED else numbers.share(0.0),
        metric=_about(found.key, found.states) if found else "",
        figures=found.figures if found else None,
        finding=found.finding if found else None,
        spark=sparkline(seen) if seen else Markup(""),
        n=found.n if found else "",
        changed_at=rollout.changed_at,
        needs_you="",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """The comparison that decides, as the newest look's short form tells it."""

    key: str
    arm: str
    states: frozenset[str]
    figures: Figures
    finding: Badge
    n: str


def decided(work: Work, project: str, rollout: Indexed, details: Listed) -> Decided | None:
    """What it was promoted on, the guardrail that was harmed, or the metric that decides."""
    plan, look = details.plan, details.look
    if plan is None or look is None:
        return None
    if rollout.state is State.PROMOTED:
        sha256 = promoted_on(work.decisions.since(project, rollout.id))
        evidence = work.evidence.get(project, sha256) if sha256 else None
        if evidence is not None:
            return _promoted(plan, evidence)
    for key, metric in sorted(look["metrics"].items(), key=lambda item: _told_first(item[1])):
        for seen in metric["comparisons"]:
            if metric["role"] != "oec" and seen["verdict"] != "harm":
                continue
            interval = {"low": seen["low"], "high": seen["high"], "level": None}
            watched = look["state"] in BAKING_STATES
            return Decided(
                key=key,
                arm=seen["arm"],
                states=BAKING_STATES if watched else DECIDING_STATES,
                figures=_figures(plan, key, {**seen, "interval": interval}),
                finding=finding(seen["verdict"], decides=metric["role"] == "oec", over=True),
                n=numbers.count(metric["n"]),
            )
    return None


def _promoted(plan: Mapping[str, Any], evidence: Mapping[str, Any]) -> Decided | None:
    """The comparison that decided, in the evidence that its promotion is bound to."""
    for metric in evidence["metrics"]:
        if metric["role"] == "oec" and metric["comparisons"]:
            shown = [one for one in metric["comparisons"] if one["verdict"] == "better"]
            seen = (shown or metric["comparisons"])[0]
            return Decided(
                key=metric["key"],
                arm=seen["arm"],
                states=DECIDING_STATES,
                figures=_figures(plan, metric["key"], seen),
                finding=VERDICTS[seen["verdict"]],
                n=numbers.count(sum(arm["n"] for arm in metric["arms"].values())),
            )
    return None


def _told_first(metric: Mapping[str, Any]) -> int:
    """A loss on the metric that decides, then a harmed guardrail, then whatever else it showed."""
    verdicts = {one["verdict"] for one in metric["comparisons"]}
    if metric["role"] == "oec":
        return 0 if "worse" in verdicts else 2
    return 1 if "harm" in verdicts else 3


def _figures(plan: Mapping[str, Any], key: str, comparison: Mapping[str, Any]) -> Figures:
    definition = Metric.from_document(plan["metrics"][key])
    return figures_of(comparison, measure_of(definition), over=True)


def _deciding(view: View) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
    """The comparison that decides, of the challenger that is ahead."""
    for metric in view.status["metrics"]:
        comparisons: Sequence[Mapping[str, Any]] = metric["comparisons"]
        if metric["role"] == "oec" and comparisons:
            arm = view.status["verdict"]["arm"]
            return metric, next((one for one in comparisons if one["arm"] == arm), comparisons[0])
    return None


def _about(metric: str, states: frozenset[str]) -> str:
    """Which metric, and whether this is the watch after a promotion."""
    return f"{metric} since promotion" if states == BAKING_STATES else metric


def _stage(status: Mapping[str, Any]) -> str:
    step = status["step"]
    if step is None or not State(status["state"]).exposed:
        return ""
    return f"stage {step['index'] + 1} of {step['total']}"


def _needs(call: Call, proposal: Mapping[str, Any] | None, status: Mapping[str, Any]) -> str:
    """Why this rollout waits for the person who looks, if it does."""
    if proposal is not None:
        voted = any(vote["voter"] == call.actor.name for vote in proposal["by"])
        return "" if voted else f"/approvals/{proposal['id']}"
    if status["next"]["people"] == "operator" and status["state"] != "Draft":
        return "operator"
    return ""
