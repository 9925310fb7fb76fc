"""What somebody can do about a rollout: each verb named by its effect, or why it cannot be done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from controller.experiments.plans import CHAMPION
from controller.flow import numbers
from controller.flow.actors import Actor, Role
from controller.rollout.states import State, Verb
from controller.service.ui.view import View
from controller.service.ui.words import STATES, missing

_ASKERS: Final = (Role.OPERATOR, Role.ADMIN)
_AUTHORS: Final = (Role.AUTHOR, Role.OPERATOR, Role.ADMIN)
_STOPPERS: Final = (Role.AUTHOR, Role.OPERATOR, Role.APPROVER, Role.POLICY_ADMIN, Role.ADMIN)
ROLES: Final[Mapping[Verb, tuple[Role, ...]]] = {
    Verb.SUBMIT: _AUTHORS,
    Verb.RETRY: _AUTHORS,
    Verb.START: _ASKERS,
    Verb.ADVANCE: _ASKERS,
    Verb.RESUME: _ASKERS,
    Verb.PROMOTE: _ASKERS,
    Verb.EDIT: _ASKERS,
    Verb.PAUSE: _STOPPERS,
    Verb.ROLLBACK: _STOPPERS,
    Verb.ABORT: _STOPPERS,
    Verb.UNDO: _STOPPERS,
}
"""Who may ask for a verb; the use case decides, this only says it beforehand."""

_ORDER: Final = (
    Verb.SUBMIT, Verb.START, Verb.ADVANCE, Verb.PROMOTE, Verb.RESUME, Verb.RETRY, Verb.EDIT,
    Verb.PAUSE, Verb.ROLLBACK, Verb.ABORT, Verb.UNDO,
)  # fmt: skip

DONE: Final = {
    "submit": "The plan is frozen.",
    "start": "Started, or put before the people who must approve.",
    "advance": "The share was raised, or put before the people who must approve.",
    "promote": "Promoted, or put before the people who must approve.",
    "pause": "Paused. Nothing will be raised until somebody resumes.",
    "resume": "Resumed.",
    "rollback": "Rolling back: everybody goes back to the champion.",
    "abort": "Ended.",
    "undo": "Undone: the previous champion serves again.",
    "edit": "Changed. Nobody met another arm; what had to move sees the champion.",
    "retry": "This is the new attempt; nothing of the earlier one counts here.",
    "approve": "Your approval is recorded.",
    "reject": "Your rejection is recorded; the proposal is closed.",
}
"""What a page says after the form that led to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One verb as a button.

    Attributes
    ----------
    label : str
        Its effect, as the button says it.
    kind : str
        `main`, `plain` or `harm`, for its looks.
    effect : tuple of (str, str, str)
        What it changes: of what, now, afterwards.
    why_not : str or None
        Why it is not possible now; the button stays in sight.
    """

    verb: Verb
    label: str
    kind: str
    effect: tuple[tuple[str, str, str], ...]
    words: str
    why_not: str | None

    @property
    def raises(self) -> bool:
        """It can raise exposure, so it names the version that was read."""
        return self.verb.raises_exposure


def actions_of(view: View, actor: Actor) -> list[Action]:
    """Every verb that the rollout's state knows, the advancing ones first."""
    legal = {
        Verb(one["verb"]): one
        for one in view.status["allowed_actions"]
        if one["allowed"] or not str(one["why_not"]).startswith("not while")
    }
    shown = [verb for verb in _ORDER if verb in legal and _sensible(view, verb)]
    return [action_of(view, verb, actor) for verb in shown]


def action_of(view: View, verb: Verb, actor: Actor) -> Action:
    """One verb for one person."""
    entry = next(one for one in view.status["allowed_actions"] if one["verb"] == verb.value)
    roles = ROLES[verb]
    why_not = None if entry["allowed"] else missing(str(entry["why_not"]))
    if not any(actor.may(role) for role in roles):
        why_not = f"you need the role {' or '.join(role.value for role in roles)}"
    told = _tell(view, verb, gated="gate" in entry)
    return Action(
        verb=verb,
        label=told.label,
        words=told.words,
        effect=told.effect,
        why_not=why_not,
        kind=_kind(verb),
    )


def _sensible(view: View, verb: Verb) -> bool:
    """Leave out what says the same as another button, or what nobody could want now."""
    if verb is Verb.ABORT:
        return not view.state.exposed and view.state is not State.ROLLING_BACK
    if verb is Verb.ROLLBACK:
        return view.state.exposed
    if verb is Verb.PAUSE:
        return "operator" not in view.status["paused"]
    if verb is Verb.RESUME:
        return bool(view.status["paused"])
    if verb is Verb.ADVANCE:
        step = view.status["step"]
        return step is not None and step["index"] + 1 < step["total"]
    if verb is Verb.PROMOTE:
        return view.proposal is None
    return True


def _kind(verb: Verb) -> str:
    if verb in (Verb.ROLLBACK, Verb.ABORT, Verb.UNDO):
        return "harm"
    return "main" if verb.raises_exposure and verb not in (Verb.RETRY, Verb.EDIT) else "plain"


# ---------------------------------------------------------------- what each verb does, in words

Effect = tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """A verb's button, what pressing it means, and what it changes."""

    label: str
    words: str
    effect: Effect


def _now(view: View) -> tuple[str, str]:
    status = view.status
    return numbers.share(status["enrolled_traffic"]), numbers.share(status["challenger_traffic"])


def _shares(view: View, enrolled: float, challenger: float) -> Effect:
    now, reach = _now(view), view.status["reach"]["share"]
    return (
        ("Traffic in the test", now[0], numbers.share(enrolled * reach)),
        ("Traffic that meets the challenger", now[1], numbers.share(challenger * reach)),
    )


def _stage(view: View, index: int) -> tuple[str, Effect]:
    """The enrolled share of a stage in words, and what it would change."""
    enrolled = view.status["step"]["stages"][index]["enrolled"]
    allocation = view.status["allocation"]
    weights = (allocation or view.document["spec"])["weights"] or {}
    challengers = sum(part for arm, part in weights.items() if arm != CHAMPION)
    split = enrolled * (1.0 - (allocation["retired"] if allocation else 0.0))
    return numbers.share(enrolled), _shares(view, split, split * challengers)


def _submit(_view: View) -> _Told:
    words = (
        "Slot, policy, metrics and models are frozen into the plan by which it will be judged. "
        "Afterwards they cannot be edited in this attempt."
    )
    return _Told(label="Freeze the plan", words=words, effect=(("Plan", "open", "frozen"),))


def _start(view: View) -> _Told:
    share, effect = _stage(view, 0)
    return _Told(label=f"Start with {share} of traffic", words=AT_ONCE, effect=effect)


def _advance(view: View) -> _Told:
    share, effect = _stage(view, view.status["step"]["index"] + 1)
    return _Told(label=f"Raise to {share} of traffic", words=AT_ONCE, effect=effect)


def _promote(view: View) -> _Told:
    holdback = view.plan.policy.bake.holdback if view.plan else 0.0
    effect = _shares(view, 1.0, 1.0 - holdback)
    return _Told(label=f"Promote {view.challenger}", words=AT_ONCE, effect=effect)


def _pause(view: View) -> _Told:
    words = (
        "Traffic stays as it is; nothing is raised until somebody resumes. "
        "The service may still roll back to protect."
    )
    effect = (("Next steps", "as the evidence allows", "none"),)
    label = f"Pause at {_now(view)[0]}" if view.status["enrolled"] else "Pause"
    return _Told(label=label, words=words, effect=effect)


def _resume(_view: View) -> _Told:
    words = "The rollout goes on from where it was paused."
    effect = (("Next steps", "none", "as the evidence allows"),)
    return _Told(label="Resume", words=words, effect=effect)


def _rollback(view: View) -> _Told:
    old = view.status["rollback_target"]["label"]
    words = (
        f"Everybody gets {old} within seconds. This attempt is over: to try again, a new attempt "
        "starts with new evidence. No reason has to be given."
    )
    return _Told(label=f"Roll back to {old}", words=words, effect=_shares(view, 0.0, 0.0))


def _abort(view: View) -> _Told:
    words = "It ends before anybody meets the challenger. No reason has to be given."
    effect = (("This attempt", STATES[view.state.value].word, STATES["Cancelled"].word),)
    return _Told(label="Cancel this rollout", words=words, effect=effect)


def _undo(view: View) -> _Told:
    old = view.status["rollback_target"]["label"]
    words = f"{old} is the champion again and serves everybody within seconds."
    effect = (("Champion", view.challenger, old),)
    return _Told(label=f"Undo: back to {old}", words=words, effect=effect)


def _edit(view: View) -> _Told:
    words = (
        "Nobody is moved from one arm to another: an arm keeps its units or gives some up, and the "
        "evidence goes on. What is pending is void, because it described another split."
    )
    number = view.status["allocation"]["number"] if view.status["allocation"] else 0
    effect = (("Allocation", str(number), "a new one"),)
    return _Told(label="Change split or eligibility", words=words, effect=effect)


def _retry(view: View) -> _Told:
    words = (
        "A new attempt with the same models is drafted. It starts from nothing: no unit and no "
        "evidence of this attempt counts in it."
    )
    attempt = view.document["metadata"]["attempt"]
    effect = (("Attempt", str(attempt), str(attempt + 1)),)
    return _Told(label="Try again", words=words, effect=effect)


AT_ONCE: Final = "It happens at once."
AFTER_APPROVAL: Final = (
    "This puts the step before the people whom the policy names; nothing changes until they "
    "approve."
)
GATED: Final[Mapping[Verb, str]] = {
    Verb.START: "Ask to start",
    Verb.ADVANCE: "Ask to raise",
    Verb.PROMOTE: "Request promotion",
}


def _tell(view: View, verb: Verb, *, gated: bool) -> _Told:
    """The verb in words; behind a gate it only asks."""
    told = _TELL[verb](view)
    if not gated or verb not in GATED:
        return told
    rest = told.label.partition(" ")[2]
    label = GATED[verb] if verb is Verb.PROMOTE else f"{GATED[verb]} {rest}"
    return replace(told, label=label, words=AFTER_APPROVAL)


_TELL: Final[Mapping[Verb, Callable[[View], _Told]]] = {
    Verb.SUBMIT: _submit,
    Verb.START: _start,
    Verb.ADVANCE: _advance,
    Verb.PROMOTE: _promote,
    Verb.PAUSE: _pause,
    Verb.RESUME: _resume,
    Verb.ROLLBACK: _rollback,
    Verb.ABORT: _abort,
    Verb.UNDO: _undo,
    Verb.RETRY: _retry,
    Verb.EDIT: _edit,
}
