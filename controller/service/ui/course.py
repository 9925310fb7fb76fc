"""The course of a rollout: its stages as steps, what its traffic did, and its log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from markupsafe import Markup

from controller.assignment.hashing import BUCKETS
from controller.experiments.plans import CHAMPION
from controller.flow import numbers
from controller.rollout.states import State
from controller.service.ui import words
from controller.service.ui.charts.traffic import Step as Shares
from controller.service.ui.charts.traffic import traffic_chart
from controller.service.ui.view import View

Condition = Literal["done", "now", "ahead", "stopped"]
MOST_LOGGED = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of the stepper."""

    name: str
    note: str
    condition: Condition

    @property
    def glyph(self) -> str:
        """What stands in its circle."""
        return {"done": "✓", "now": "●", "ahead": "", "stopped": "✗"}[self.condition]

    @property
    def spoken(self) -> str:
        """Its condition in words."""
        return {"done": "done", "now": "now", "ahead": "ahead", "stopped": "stopped here"}[
            self.condition
        ]


def steps_of(view: View) -> list[Step]:
    """Check, each share of the ramp, decision, watch, champion."""
    stages = _stages(view)
    names = ["Check", *stages, "Decide", "Watch", "Champion"]
    notes = ["the plan is frozen", *["of traffic in the test" for _ in stages]]
    notes += ["on the evidence", _watch(view), "serves everybody"]
    at, stopped = _position(view, len(stages))
    return [
        Step(name=name, note=note, condition=_condition(index, at, stopped=stopped))
        for index, (name, note) in enumerate(zip(names, notes, strict=True))
    ]


def _watch(view: View) -> str:
    """What the watch after promotion keeps to compare with."""
    holdback = view.plan.policy.bake.holdback if view.plan else 0.0
    return f"{numbers.share(holdback)} keep the old" if holdback else "after promotion"


def _stages(view: View) -> list[str]:
    step = view.status["step"]
    return [] if step is None else [numbers.share(stage["enrolled"]) for stage in step["stages"]]


def _position(view: View, stages: int) -> tuple[int, bool]:
    """Index of the present step, past the last where all is done, and whether it turned back."""
    state, stopped = view.state, view.state in (
        State.ROLLING_BACK, State.ROLLED_BACK, State.CANCELLED, State.SUPERSEDED
    )  # fmt: skip
    if stopped:
        state = _stopped_in(view)
    stage = view.status["step"]["index"] if view.status["step"] else 0
    index = {
        State.RAMPING: 1 + stage,
        State.DECIDING: 1 + stages,
        State.PROMOTING: 2 + stages,
        State.BAKING: 2 + stages,
        State.PROMOTED: 3 + stages if stopped else 4 + stages,
    }.get(state, 0)
    return index, stopped


def _stopped_in(view: View) -> State:
    """The state it was in when it turned back."""
    turning = ("roll_back", "cancel", "undo")
    found = next((one for one in reversed(view.decisions) if one.action in turning), None)
    return State(found.from_state) if found and found.from_state else State.DRAFT


def _condition(index: int, at: int, *, stopped: bool) -> Condition:
    if index < at:
        return "done"
    if index > at:
        return "ahead"
    return "stopped" if stopped else "now"


# ---------------------------------------------------------------- traffic


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmTraffic:
    """Units of one arm, as they came and as they were to come."""

    name: str
    model: str
    exposed: str
    part: str
    expected: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Both shares now and over time, and whether the split is as planned.

    `reach` says why not everybody can take part; `overrides` counts units set by hand.
    """

    enrolled: str
    challenger: str
    reach: str
    overrides: int
    chart: Markup | None
    chart_words: str
    arms: tuple[ArmTraffic, ...]
    split: str
    alarm: bool
    excluded: tuple[tuple[str, str], ...]


def traffic_of(view: View) -> Traffic:
    """The traffic of a rollout."""
    status = view.status
    reach = status["reach"]
    enrolled = numbers.share(status["enrolled_traffic"])
    challenger = numbers.share(status["challenger_traffic"])
    steps = share_steps(view)
    spoken = f"Now {enrolled} of traffic is split and {challenger} meets the challenger."
    if view.state is State.PROMOTED:
        challenger = numbers.share(1.0)
        spoken = f"No traffic is split any more: {view.challenger} serves everybody."
    integrity = status["integrity"]
    return Traffic(
        enrolled=enrolled,
        challenger=challenger,
        reach=reach["sentence"],
        overrides=reach["overrides"],
        chart=traffic_chart(steps, until=_until(view), words=spoken) if steps else None,
        chart_words=spoken,
        arms=tuple(_arms(view, integrity)) if integrity else (),
        split=_split_words(integrity),
        alarm=bool(integrity and integrity["srm_alarm"]),
        excluded=tuple(
            (name.replace("_", " "), numbers.count(number))
            for name, number in (integrity or {}).get("excluded", {}).items()
            if number
        ),
    )


def share_steps(view: View) -> list[Shares]:
    """Both shares after every decision that changed them; what is retired is not split any more."""
    found: list[Shares] = []
    killed, retired = False, 0.0
    for one in view.decisions:
        enrolled, meets = (one.document.get(name) for name in ("enrolled", "challenger_share"))
        killed = one.action == "kill" or (killed and one.action != "kill_lifted")
        retired = 0.0 if one.action == "promote" else _retired(one.document, retired)
        if not (isinstance(enrolled, list) and isinstance(meets, list)):
            continue
        split = 0.0 if killed else enrolled[1] * (1.0 - retired)
        met = 1.0 if one.action == "complete" else 0.0 if killed else meets[1]
        if not found or (found[-1].enrolled, found[-1].challenger) != (split, met):
            found.append(Shares(at=one.at, enrolled=split, challenger=met))
    moved = [index for index, step in enumerate(found) if step.enrolled or step.challenger]
    return found[max(0, moved[0] - 1) :] if moved else []


def _retired(facts: Mapping[str, Any], before: float) -> float:
    """The share that is retired after a decision; only an edit changes it."""
    changed = facts.get("retired")
    if not isinstance(changed, list):
        return before
    return float(sum(end - start for start, end in changed[1])) / BUCKETS


def _until(view: View) -> datetime:
    """The newest thing that is known, so that a picture stays the same while nothing happens."""
    looked = [look.taken_at for look in view.looks[-1:]]
    return max([*looked, *(decision.at for decision in view.decisions[-1:])])


def _arms(view: View, integrity: Mapping[str, Any]) -> list[ArmTraffic]:
    exposed: Mapping[str, int] = integrity["exposed"]
    total = sum(exposed.values())
    models = view.plan.arms if view.plan else {}
    return [
        ArmTraffic(
            name=arm,
            model=models[arm].label if arm in models else arm,
            exposed=numbers.count(number),
            part=numbers.share(number / total) if total else numbers.UNKNOWN,
            expected=_expected(integrity["expected"].get(arm), total),
        )
        for arm, number in sorted(exposed.items(), key=lambda item: item[0] != CHAMPION)
    ]


def _expected(expected: float | None, total: int) -> str:
    """The planned part; the report counts expected units."""
    if expected is None or not total:
        return numbers.UNKNOWN
    return numbers.share(expected / total if expected > 1 else expected)


def _split_words(integrity: Mapping[str, Any] | None) -> str:
    if integrity is None:
        return "Nothing has been counted yet."
    p = numbers.p_value(integrity["srm_p"])
    if integrity["srm_alarm"]:
        return f"The traffic is not split as planned ({p}): no number here can be trusted."
    return f"The traffic is split as planned ({p})."


# ---------------------------------------------------------------- the log


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One decision in words."""

    seq: int
    at: datetime
    actor: str
    action: str
    text: str
    note: str
    evidence: str | None
    tone: str


def log_of(view: View, most: int = MOST_LOGGED) -> list[LogLine]:
    """The newest decisions first."""
    return [_line(one) for one in reversed(view.decisions[-most:])]


def _line(decision: Any) -> LogLine:
    facts = decision.document
    parts = []
    if decision.from_state and decision.to_state and decision.from_state != decision.to_state:
        before, after = words.STATES[decision.from_state], words.STATES[decision.to_state]
        parts.append(f"{before.word} → {after.word}")
    shares = facts.get("challenger_share")
    if isinstance(shares, list) and shares[0] != shares[1] and decision.action != "complete":
        change = f"{numbers.share(shares[0])} → {numbers.share(shares[1])}"
        parts.append(f"challenger's share {change}")
    if decision.action == "drop_arm":
        parts.append(", ".join(str(one["arm"]) for one in facts["arms"]))
    reach = facts.get("reach")
    if isinstance(reach, list):
        parts.append(f"may reach {numbers.share(reach[0])} → {numbers.share(reach[1])}")
    if decision.action == "verdict":
        parts.append(
            f"{facts['verdict'].replace('_', ' ').lower()}: {words.reason(facts['reason'])}"
        )
    elif decision.action == "complete":
        parts.append("the watch ended without alarm")
    elif facts.get("reason") and facts["reason"] != decision.action:
        parts.append(words.reason(facts["reason"]))
    elif facts.get("why"):
        parts.append(words.PAUSES.get(facts["why"], facts["why"]))
    if facts.get("unreviewed"):
        parts.append("unreviewed")
    evidence = facts.get("evidence")
    return LogLine(
        seq=decision.seq,
        at=decision.at,
        actor=decision.actor,
        action=words.action(decision.action),
        text="; ".join(parts),
        note=str(facts.get("note") or facts.get("comment") or ""),
        evidence=evidence if isinstance(evidence, str) else None,
        tone=_tone(decision.action),
    )


def _tone(action: str) -> str:
    if action in ("promote", "complete", "proposal_executed", "vote_approve"):
        return "good"
    if action in (
        "roll_back",
        "rolled_back",
        "undo",
        "kill",
        "vote_reject",
        "proposal_vetoed",
        "drop_arm",
    ):
        return "bad"
    if action in ("pause", "proposal_opened", "proposal_voided", "proposal_expired"):
        return "care"
    return "quiet"
