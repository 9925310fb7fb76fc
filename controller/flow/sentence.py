"""One plain sentence for people: what share sees the challenger, what is known, what is next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from controller.experiments.metrics import Direction
from controller.experiments.plans import Plan
from controller.flow.differing import differing
from controller.flow.numbers import half_width, interval_text, measure_of, share
from controller.flow.outlook import Next
from controller.flow.traffic_rules import EVERYBODY, Reach
from controller.rollout.machine import Move
from controller.rollout.record import Rollout
from controller.rollout.shares import Shares
from controller.rollout.states import Pause, State, Verdict

_ENDED = {
    "horizon_not_reached": "the time was up before the test could decide",
    "no_difference": "no difference was found",
    "futile": "it had become hopeless to find a difference",
    "horizon_reached": "the planned number of units showed no difference",
    "guardrail_not_shown": "a guardrail could not be shown to hold",
    "guardrail_harm": "a guardrail was harmed",
    "oec_worse": "it was worse on the metric that decides",
    "rolled_back_by_operator": "an operator took it back",
    "aborted": "an operator aborted it",
    "undone": "the promotion was undone",
    "not_approved": "nobody approved it in time",
    "not_started": "it was not started in time",
    "data_missing": "outcomes stopped arriving",
    "champion_changed": "the champion it was compared with has changed",
    "bake_not_clean": "the watch after promotion did not come out clean",
    "promotion_not_carried_out": "the promotion could not be carried out in time",
    "aa_not_passed": "the A/A check did not pass",
    "dropped_by_operator": "an operator gave it up",
}
_WAITS = {
    "not_killed": "the slot is killed",
    "not_paused": "it is paused",
    "evidence_of_this_stage": "the first look of this stage is still to come",
    "evidence_fresh": "the newest look is too old",
    "evidence_known": "the data do not say anything yet",
    "stage.dwell": "this stage has to last longer",
    "stage.min_units": "more units have to be exposed",
    "stage.min_matured": "more outcomes have to be complete",
    "verdict_promote": "the evidence has not decided",
    "last_stage": "the test goes on",
    "losers_dropped": "challengers that have lost have to be dropped first",
    "bake.duration": "the watch after promotion has to last longer",
    "aa.min_units": "more units have to be counted",
    "ruleset_sent": "the new ruleset is going out",
}
_NONE_SO_FAR = "shows no difference so far"
_TESTED = frozenset({State.RAMPING, State.DECIDING})
_WATCHED = frozenset({State.PROMOTING, State.BAKING, State.PROMOTED})
_PAUSED = {
    Pause.OPERATOR: "an operator paused it",
    Pause.DATA_MISSING: "outcomes are missing",
    Pause.SRM: "the split between the arms is broken",
    Pause.ARM_MISMATCH: "clients report other arms than were assigned",
    Pause.DOUBLE_EXPOSURE: "too many units met two arms",
    Pause.HARM: "a guardrail is harmed",
    Pause.APPROVAL_PENDING: "an approval is pending",
}


def sentence(
    rollout: Rollout,
    shares: Shares,
    ahead: Next,
    metrics: Mapping[str, Mapping[str, Any]],
    *,
    killed: bool,
    reach: Reach = EVERYBODY,
    dropped: Sequence[Mapping[str, str]] = (),
    retired: float = 0.0,
) -> str:
    """Share, knowledge and next step, in that order, without jargon."""
    met = Shares(
        enrolled=shares.enrolled * (1.0 - retired) * reach.share,
        challenger=shares.challenger * reach.share,
    )
    parts = [
        _share(rollout, met, killed=killed, dropped=dropped),
        reach.sentence if met.enrolled > 0 else "",
        _given_up(dropped) if rollout.state in _TESTED else "",
        _known(rollout, metrics),
        _next(rollout, ahead),
    ]
    return " ".join(part for part in parts if part)


# ---------------------------------------------------------------- share


def _share(
    rollout: Rollout, shares: Shares, *, killed: bool, dropped: Sequence[Mapping[str, str]]
) -> str:
    if rollout.state.terminal:
        return _ended(rollout)
    name = _challenger(rollout, [one["label"] for one in dropped])
    if killed:
        return f"The slot is killed: nobody sees {name}."
    if rollout.state in (State.DRAFT, State.VALIDATING, State.SHADOW):
        return f"Nobody sees {name} yet."
    if rollout.state is State.AA_CHECK:
        return f"{share(shares.enrolled)} of traffic tests the plumbing; nobody sees {name} yet."
    if rollout.state is State.ROLLING_BACK:
        return f"{name} has been taken back: everybody sees the champion again."
    if rollout.state in (State.PROMOTING, State.BAKING):
        return (
            f"{share(shares.challenger)} of traffic sees {name}; "
            f"{share(1 - shares.challenger)} keeps the old champion for comparison."
        )
    return (
        f"{share(shares.challenger)} of traffic sees {name} "
        f"({share(shares.enrolled)} takes part in the test)."
    )


def why_ended(reason: str) -> str:
    """Why a rollout, or one of its challengers, ended, as half a sentence."""
    return _ENDED.get(reason, reason.replace("_", " "))


def _given_up(dropped: Sequence[Mapping[str, str]]) -> str:
    """Which challengers are out of the race, and why."""
    parts = [f"{one['label']} was dropped: {one['why']}." for one in dropped]
    return " ".join(parts)


def _ended(rollout: Rollout) -> str:
    name = _challenger(rollout)
    if rollout.state is State.PROMOTED:
        return f"{name} is the new champion."
    why = _ENDED.get(rollout.reason)
    because = f": {why}" if why else ""
    if rollout.state is State.ROLLED_BACK and rollout.verdict is Verdict.NO_DIFFERENCE:
        return f"The champion was kept{because}. It serves everybody."
    if rollout.state is State.ROLLED_BACK:
        return f"Rolled back{because}. The champion serves everybody."
    return f"{rollout.state.value} before anybody saw {name}{because}."


def _challenger(rollout: Rollout, dropped: Sequence[str] = ()) -> str:
    """The challenger's name; of several that are left, how many."""
    models = [model for model in rollout.draft.challengers if model.label not in dropped]
    return models[0].label if len(models) == 1 else f"one of {len(models)} challengers"


# ---------------------------------------------------------------- knowledge


def _known(rollout: Rollout, metrics: Mapping[str, Mapping[str, Any]]) -> str:
    if rollout.plan is None or rollout.plan.slot.oec is None:
        return ""
    reported = metrics.get(rollout.plan.slot.oec.metric)
    if reported is None:
        return "" if rollout.state.terminal or not rollout.state.exposed else "No look yet."
    if rollout.reason == "guardrail_harm":
        return _harmed(rollout.plan, metrics)
    units = _units(reported)
    best = _ahead(rollout.plan, reported)
    apart = (
        "" if best is None else differing(best, measure_of(rollout.plan.metrics[reported["key"]]))
    )
    calm = "The watch ended without alarm. " if rollout.state is State.PROMOTED else ""
    if best is None or best["estimate"] is None:
        yet = "" if rollout.state.terminal else " yet"
        return calm or f"{units:,} complete units say nothing{yet} about {reported['key']}."
    if rollout.state in _WATCHED and rollout.judgement is not None:
        size = _size(rollout.plan, reported["key"], best)
        return f"{calm}Since its promotion {size} on {units:,} complete units. {apart}".rstrip()
    effect = _effect(rollout.plan, reported["key"], best, over=rollout.state.terminal)
    return f"{effect} on {units:,} complete units. {apart}".rstrip()


def _harmed(plan: Plan, metrics: Mapping[str, Mapping[str, Any]]) -> str:
    """Which guardrail, how far, and its limit: what took the challenger back."""
    told = []
    for key, reported in metrics.items():
        for found in reported["comparisons"]:
            if found["verdict"] == "harm" and found["estimate"] is not None:
                measure, units = measure_of(plan.metrics[key]), _units(reported)
                limit = measure.difference(found["margin"], 1).lstrip("+")
                told.append(f"{_size(plan, key, found)} on {units:,} complete units, limit {limit}")
    return f"{'; '.join(told)}." if told else ""


def _units(reported: Mapping[str, Any]) -> int:
    return sum(arm["n"] for arm in reported["arms"].values())


def _ahead(plan: Plan, reported: Mapping[str, Any]) -> Mapping[str, Any] | None:
    better = plan.metrics[reported["key"]].better
    known = [one for one in reported["comparisons"] if one["estimate"] is not None]
    return max(known, key=lambda one: better * one["estimate"], default=None)


def _effect(plan: Plan, key: str, comparison: Mapping[str, Any], *, over: bool) -> str:
    metric, estimate = plan.metrics[key], comparison["estimate"]
    size = _size(plan, key, comparison)
    judged = "better" if (estimate > 0) == (metric.direction is Direction.INCREASE) else "worse"
    shown = {
        "better": "shown to be better",
        "worse": "shown to be worse",
        "not_worse": "shown to be no worse",
        "no_difference": "no difference can be shown",
    }.get(comparison["verdict"])
    if shown is None and over:
        shown = "no difference was shown"
    if shown is None:
        return size if _NONE_SO_FAR in size else f"{size}: looks {judged}, not yet shown"
    return f"{size}: {shown}"


def _size(plan: Plan, key: str, comparison: Mapping[str, Any]) -> str:
    """How far the challenger lies from the champion, and between which ends."""
    measure, estimate = measure_of(plan.metrics[key]), comparison["estimate"]
    interval = comparison["interval"] or {"low": None, "high": None}
    low, high = interval["low"], interval["high"]
    decimals = measure.decimals(half_width(low, high, estimate), comparison["margin"])
    size = measure.difference(abs(estimate), decimals).lstrip("+")
    surely = f" ({interval_text(low, high, measure, decimals)})" if comparison["interval"] else ""
    if not any(digit in "123456789" for digit in size):
        return f"{key} {_NONE_SO_FAR}{surely}"
    way = "higher" if estimate > 0 else "lower"
    return f"{key} is {size} {way}{surely}"


# ---------------------------------------------------------------- next


def _next(rollout: Rollout, ahead: Next) -> str:
    if rollout.paused:
        reasons = " and ".join(_PAUSED[reason] for reason in rollout.paused)
        return f"Held: {reasons}."
    if ahead.transition is None:
        return ""
    step = _step(rollout, Move(ahead.transition))
    if ahead.people not in (None, "operator") and _only_people(ahead):
        return f"Next: {step}, once the people whom the policy names approve."
    if ahead.people == "operator" and _only_people(ahead):
        return f"Next: {step}, when an operator asks for it."
    waits = [_WAITS[clause.id] for clause in ahead.waiting_on if clause.id in _WAITS]
    if not waits:
        return f"Next: {step}."
    when = f" (not before {_clock(ahead.earliest_at)})" if _waits_for_time(ahead) else ""
    return f"Next: {step}{when}; {waits[0]}."


def _step(rollout: Rollout, move: Move) -> str:
    if move is Move.ADVANCE:
        enrolled = rollout.frozen_plan.policy.ramp[rollout.stage + 1].enrolled
        return f"{share(enrolled)} of traffic takes part"
    if move is Move.START:
        enrolled = rollout.frozen_plan.policy.ramp[0].enrolled
        return f"the test starts with {share(enrolled)} of traffic"
    return {
        Move.SUBMIT: "somebody submits the draft",
        Move.CHECK: "an A/A check",
        Move.DECIDE: "the decision" if rollout.verdict is not Verdict.PROMOTE else "approval",
        Move.PROMOTE: "promotion",
        Move.BAKE: "the watch after promotion",
        Move.COMPLETE: "it becomes the champion",
        Move.ROLL_BACK: "back to the champion",
        Move.ROLLED_BACK: "the rollback is confirmed",
    }[move]


def _only_people(ahead: Next) -> bool:
    return all(clause.id in ("approved", "autonomy") for clause in ahead.waiting_on)


def _waits_for_time(ahead: Next) -> bool:
    ids = {clause.id for clause in ahead.waiting_on}
    return ahead.earliest_at is not None and bool(ids & {"stage.dwell", "bake.duration"})


def _clock(instant: datetime | None) -> str:
    return "" if instant is None else f"{instant:%Y-%m-%d %H:%M} UTC"
