"""The console's vocabulary: what states, verdicts, reasons, clauses and refusals are called.

Every entry of the contract's closed lists has words, a glyph and a tone here; colour repeats what
glyph and word already say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from controller.flow import numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Badge:
    """A word, the glyph before it, and the tone of both.

    `tone` is one of good, bad, care, busy, quiet.
    """

    word: str
    glyph: str
    tone: str


STATES: Final[dict[str, Badge]] = {
    "Draft": Badge(word="Draft", glyph="○", tone="quiet"),
    "Validating": Badge(word="Checking", glyph="○", tone="busy"),
    "Shadow": Badge(word="Shadowing", glyph="○", tone="busy"),
    "AACheck": Badge(word="Checking the split", glyph="○", tone="busy"),
    "Ramping": Badge(word="Ramping", glyph="●", tone="busy"),
    "Deciding": Badge(word="Deciding", glyph="●", tone="busy"),
    "Promoting": Badge(word="Promoting", glyph="▲", tone="good"),
    "Baking": Badge(word="Baking", glyph="▲", tone="good"),
    "Promoted": Badge(word="Promoted", glyph="▲", tone="good"),
    "RollingBack": Badge(word="Rolling back", glyph="▼", tone="bad"),
    "RolledBack": Badge(word="Rolled back", glyph="▼", tone="bad"),
    "Cancelled": Badge(word="Cancelled", glyph="×", tone="quiet"),
    "Superseded": Badge(word="Superseded", glyph="×", tone="quiet"),
}
HELD: Final = Badge(word="Held", glyph="◆", tone="care")
WAITING: Final = Badge(word="Needs approval", glyph="◆", tone="care")
KILLED: Final = Badge(word="Kill switch on", glyph="■", tone="bad")
KEPT: Final = Badge(word="Champion kept", glyph="◇", tone="quiet")

VERDICTS: Final[dict[str, Badge]] = {
    "better": Badge(word="Better", glyph="▲", tone="good"),
    "worse": Badge(word="Worse", glyph="▼", tone="bad"),
    "not_worse": Badge(word="Within its limit", glyph="✓", tone="good"),
    "harm": Badge(word="Harm", glyph="✗", tone="bad"),
    "no_difference": Badge(word="No difference shown", glyph="◇", tone="quiet"),
    "inconclusive": Badge(word="Not settled yet", glyph="…", tone="busy"),
    "unknown": Badge(word="Unknown", glyph="?", tone="care"),
}

NO_ALARM: Final = Badge(word="No alarm", glyph="✓", tone="good")
NO_HARM: Final = Badge(word="No harm shown", glyph="◇", tone="quiet")

RESULTS: Final[dict[str, Badge]] = {
    "pass": Badge(word="Yes", glyph="✓", tone="good"),
    "fail": Badge(word="No", glyph="✗", tone="bad"),
    "unknown": Badge(word="Not yet", glyph="…", tone="care"),
}

APPROVALS: Final[dict[str, Badge]] = {
    "open": WAITING,
    "approved": Badge(word="Approved", glyph="✓", tone="good"),
    "vetoed": Badge(word="Rejected", glyph="✗", tone="bad"),
    "expired": Badge(word="Expired", glyph="×", tone="quiet"),
    "voided": Badge(word="Void", glyph="×", tone="quiet"),
    "executed": Badge(word="Done", glyph="✓", tone="good"),
}

REASONS: Final[dict[str, str]] = {
    "submitted": "its plan was frozen and it waits to start",
    "checking_the_split": "the split is being checked before anybody meets the challenger",
    "boundary_crossed": "the evidence crossed the bound that was planned for it",
    "keep_collecting": "the evidence has not reached its bound in either direction",
    "too_few_units": "too few complete units for a first look",
    "no_data": "no outcome has arrived yet",
    "stale": "outcomes have stopped arriving",
    "arm_empty": "one arm has no complete unit yet",
    "burn_in": "too few units with a value other than zero",
    "not_finite": "a value is too large to calculate with",
    "information_fell": "corrections took back more evidence than arrived",
    "baseline_zero": "the champion stands at zero, so nothing can be relative to it",
    "baseline_not_positive": (
        "the champion does not stand above zero, so a relative margin means nothing: state it "
        "as a number"
    ),
    "denominator_zero": "the ratio's denominator is zero in an arm",
    "grid_exceeded": "values lie outside the grid that was fixed before the start",
    "not_planned": "nothing was planned for this comparison",
    "no_look_yet": "the first look is still to come",
    "covariate_differs": "the covariate differs between the arms: it is not from before exposure",
    "zero_variance": "every unit so far has the same value, so nothing can be compared",
    "after_decision": "this outcome is seen only after a decision, so it cannot decide",
    "missing_differs": "outcomes are missing more often in one arm than in the other",
    "arm_silent": "one arm has stopped reporting outcomes",
    "guardrail_not_shown": "the test of a guardrail ended without showing that it is safe",
    "guardrail_pending": "it is shown to be better, but a guardrail is not yet shown to be safe",
    "guardrail_harm": "a guardrail got worse by more than its limit",
    "horizon_not_reached": "its time was over long before the planned evidence was gathered",
    "horizon_reached": "all planned evidence is in, and no difference could be shown",
    "horizon_passed": "all planned evidence is in; what alpha was kept in reserve goes on looking",
    "futile": "the evidence so far makes it all but impossible to show a difference",
    "no_difference": "no difference could be shown",
    "deadline": "its time was over",
    "oec_shown": "it is shown to be better on the metric that decides",
    "oec_worse": "it is shown to be worse on the metric that decides",
    "claim_broken": "it was shown to be better, but right now it is not ahead",
    "harm_alarm": "the harm alarm has gone off",
    "srm": "the split of the traffic differs from its plan",
    "arm_mismatch": "too many exposures report another arm than the one assigned",
    "double_exposure": "too many units met two arms",
    "champion_changed": "the slot's champion changed while they were compared",
    "killed": "the kill switch is on",
    "rolled_back_by_operator": "a person rolled it back",
    "aborted": "a person aborted it",
    "dropped_by_operator": "a person gave it up",
    "undone": "a person undid the promotion",
    "promote_approved": "the people whom the policy names approved its promotion",
    "advance_approved": "the people whom the policy names approved the next step",
    "start_approved": "the people whom the policy names approved its start",
    "check_approved": "the people whom the policy names approved its start",
    "promote_by_operator": "a person promoted it",
    "advance_by_operator": "a person moved it on",
    "start_by_operator": "a person started it",
    "check_by_operator": "a person started it",
    "data_missing": "outcomes have been missing for too long",
    "baked": "it was watched for the whole time that the policy asks for",
    "rejected": "somebody rejected it",
    "not_started": "it was not started in time",
    "not_approved": "nobody approved it in time",
    "aa_not_passed": "the check of the split did not pass",
    "bake_not_clean": "the watch after promotion did not come out clean",
    "promotion_not_carried_out": "the promotion could not be carried out in time",
    "overtaken": "something else happened first",
    "retreat": "the rollout went back",
    "content_changed": "what would have happened changed",
}

PAUSES: Final[dict[str, str]] = {
    "operator": "a person paused it",
    "data_missing": "outcomes are missing",
    "srm": "the split of the traffic differs from its plan",
    "arm_mismatch": "clients report other arms than they were given",
    "double_exposure": "too many units met two arms",
    "harm": "a guardrail got worse by more than its limit",
    "approval_pending": "it waits for approval",
}

ACTIONS: Final[dict[str, str]] = {
    "create": "Asked for",
    "submit": "Plan frozen",
    "check": "Split check started",
    "start": "Started",
    "advance": "Raised the share",
    "decide": "Began to decide",
    "promote": "Promoted",
    "bake": "Watch began",
    "complete": "Became champion",
    "roll_back": "Began to roll back",
    "rolled_back": "Back with the champion",
    "cancel": "Cancelled",
    "undo": "Promotion undone",
    "pause": "Paused",
    "resume": "Resumed",
    "verdict": "Verdict",
    "proposal_opened": "Put before people",
    "proposal_executed": "Carried out",
    "proposal_vetoed": "Rejected",
    "proposal_expired": "Proposal expired",
    "proposal_voided": "Proposal void",
    "vote_approve": "Approved",
    "vote_reject": "Rejected",
    "kill": "Kill switch on",
    "kill_lifted": "Kill switch lifted",
    "edit": "Weights or eligibility changed",
    "drop_arm": "Challenger dropped",
    "reach_changed": "Reach of the rollout changed",
}

TRANSITIONS: Final[dict[str, str]] = {
    "check": "check the split",
    "start": "start",
    "advance": "raise the share",
    "promote": "promote",
}

CLAUSES: Final[dict[str, str]] = {
    "kill": "The kill switch is off",
    "integrity.champion": "The champion is still the one it is compared with",
    "integrity.srm": "The traffic is split as planned",
    "integrity.arm_mismatch": "Clients serve the arm they were given",
    "integrity.double_exposure": "Units meet one arm only",
    "stage.dwell": "Long enough at this share",
    "stage.min_units": "Enough units at this share",
    "stage.min_matured": "Enough complete outcomes at this share",
    "bake.duration": "Watched for long enough",
    "aa.min_units": "Enough units to trust the split",
    "approved": "Approved by the people whom the policy names",
    "autonomy": "The policy lets the service do it unasked",
    "not_paused": "Not paused",
    "not_killed": "The kill switch is off",
    "champion_pinned": "The champion is still the one it is compared with",
    "slot_free": "No other rollout lives in the slot",
    "plan_frozen": "The plan is frozen",
    "evidence_of_this_stage": "Evidence from this stage",
    "evidence_fresh": "Recent evidence",
    "evidence_known": "Evidence that says something",
    "more_stages": "There is another stage",
    "last_stage": "The last stage is complete",
    "losers_dropped": "Challengers that have lost are dropped",
    "not_past_approval": "Nobody new meets the challenger without approval",
    "verdict_promote": "The evidence says it is better",
    "ruleset_sent": "Every server has been told",
    "undo_window": "Within the time in which it can be undone",
    "champion_is_ours": "It is still the champion",
}
_CLAUSE_KINDS: Final = {
    "harm": "{} does no harm beyond its limit",
    "worse": "{} is not shown to be worse",
    "fresh": "{} has recent outcomes",
    "oec": "{} is shown to be better",
    "guardrail": "{} is shown to be within its limit",
    "paused": "Not held for {}",
    "claim": "The claim still holds ({})",
}

_SECONDS: Final = re.compile(r"\b(\d+(?:\.\d+)?) (?:seconds|s)\b")

ADVICE: Final[dict[str, str]] = {
    "route_not_found": "Check the address, or go to the list of rollouts.",
    "not_found": "It may have been removed, or the address has a typing error.",
    "not_permitted": "Ask an administrator for the role, or ask a colleague who has it.",
    "not_confirmed": "Go back and give your password with it.",
    "csrf_refused": "Go back, reload the page and send the form again.",
    "rate_limited": "Wait a moment, then try again.",
    "stale_version": "Open the rollout again: somebody or the service itself changed it.",
    "illegal_transition": "Open the rollout again: its state allows other actions now.",
    "guard_failed": "Open the rollout again: it shows what has to be true first.",
    "plan_infeasible": (
        "Change the slot or the policy, or submit it all the same with "
        "`controller rollout submit --accept-infeasible`."
    ),
    "approval_invalid": "Open the approval again: it shows what has become of it.",
    "quorum_impossible": "Let somebody ask who need not approve, or add an approver.",
    "unavailable": "Nothing was changed. Try again in a moment.",
    "internal_error": "Nothing was changed by this page. The log names the cause.",
}


def state_badge(state: str, *, paused: bool, waiting: bool, killed: bool, verdict: str) -> Badge:
    """What a rollout's state is called in a list, by what most needs to be known."""
    ended = state in ("Promoted", "RolledBack", "Cancelled", "Superseded", "Draft")
    if killed and not ended:
        return KILLED
    if waiting:
        return WAITING
    if paused:
        return HELD
    if state == "RolledBack" and verdict == "NO_DIFFERENCE":
        return KEPT
    return STATES[state]


def finding(verdict: str, *, decides: bool, over: bool, watched: bool = False) -> Badge:
    """What a comparison has come to; once its rollout is over, nothing is open any more.

    Parameters
    ----------
    watched : bool
        It belongs to the watch after a promotion that stands.
    """
    if not over or verdict != "inconclusive":
        return VERDICTS[verdict]
    if watched:
        return NO_ALARM
    return VERDICTS["no_difference"] if decides else NO_HARM


def reason(code: str) -> str:
    """A stable reason in words; one that is not known yet is shown as it is."""
    return REASONS.get(code, code.replace("_", " "))


_HELD: Final = {
    "arm_silent": "{} has stopped reporting outcomes",
    "missing_differs": "outcomes are missing unevenly, most often of {}",
}


def held(code: str, causes: Sequence[str]) -> str:
    """The same for a comparison that is held, with the arms whose outcomes are missing."""
    return _HELD[code].format(" and ".join(causes)) if causes and code in _HELD else reason(code)


def why(metric: Mapping[str, Any], comparison: Mapping[str, Any]) -> str:
    """Why a comparison of a look says what it says."""
    found = metric.get("held", {}).get(comparison["arm"])
    causes = [found["cause"]] if found and found["reason"] == comparison["reason"] else []
    return held(comparison["reason"], causes)


def clause(name: str, of: str = "") -> str:
    """What a clause or a guard asks for; of which challenger, where several have to be told apart.

    Parameters
    ----------
    name : str
        Without the arm.
    """
    if name in CLAUSES:
        return CLAUSES[name]
    kind, _, rest = name.partition(".")
    about = f"{rest or name} of {of}" if of else rest or name
    return _CLAUSE_KINDS.get(kind, "{}").format(about)


def action(name: str) -> str:
    """A step of a rollout's life in words."""
    return ACTIONS.get(name, name.replace("_", " ").capitalize())


def advice(code: str) -> str:
    """What to do about a refusal."""
    return ADVICE.get(code, "Go back and try again.")


def humane(text: str) -> str:
    """A sentence of the service with its seconds as people say them."""
    return _SECONDS.sub(lambda found: numbers.duration(float(found.group(1))), text)


def missing(why_not: str) -> str:
    """Why a verb has to wait, with the names of its guards in words."""
    names = [part.partition(": ")[0] for part in why_not.split("; ")]
    if not all(name in CLAUSES for name in names):
        return why_not
    return "this is still missing: " + "; ".join(
        CLAUSES[name][:1].lower() + CLAUSES[name][1:] for name in names
    )


def many(unit: str) -> str:
    """The plural of a unit type, as an operator would read it."""
    if unit.endswith("y") and unit[-2:-1] not in "aeiou":
        return unit[:-1] + "ies"
    return unit + ("es" if unit.endswith(("s", "x", "ch", "sh")) else "s")


def observed(value: Any) -> str:
    """The observed side or the threshold of a clause, briefly."""
    if value is None:
        return numbers.UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return numbers.count(value)
    if isinstance(value, float):
        return numbers.plain(value, 0) if value == int(value) else f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(observed(one) for one in value) or "none"
    if isinstance(value, dict):
        return "; ".join(
            f"{name.replace('_', ' ')} {observed(one)}"
            for name, one in value.items()
            if one is not None
        )
    return str(value).replace("_", " ")


def observed_in(name: str, value: Any) -> str:
    """The same, with times as times."""
    seconds = name.startswith(("fresh.", "stage.dwell", "bake.", "evidence_fresh"))
    if seconds and isinstance(value, int | float) and not isinstance(value, bool):
        return numbers.duration(value)
    return observed(value)
