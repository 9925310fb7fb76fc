"""What people ask of a rollout: raising exposure needs everything, retreating needs nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from controller.errors import (
    GuardFailed,
    IllegalTransition,
    NotFound,
    PreconditionRequired,
    StaleVersion,
    Unavailable,
)
from controller.flow.act import back_to, judgement_of, slot_of, transition
from controller.flow.actors import Actor, Role, Scope
from controller.flow.create import check_free, check_models, new_draft, usable_policy
from controller.flow.edit import edit, retreats
from controller.flow.holding import hold, release
from controller.flow.ports.work import Store, Work
from controller.flow.proposals import check_quorum, has_quorum, open_proposal
from controller.flow.submit import submit
from controller.rollout.machine import Move, legal_verbs
from controller.rollout.record import Rollout
from controller.rollout.states import Pause, State, Verb

_ATTEMPTS = 20
_ASKERS = (Role.OPERATOR, Role.ADMIN)
_AUTHORS = (Role.AUTHOR, Role.OPERATOR, Role.ADMIN)
_STOPPERS = (Role.AUTHOR, Role.OPERATOR, Role.APPROVER, Role.POLICY_ADMIN, Role.ADMIN)


def act(
    store: Store,
    project: str,
    rollout_id: str,
    verb: Verb | str,
    *,
    actor: Actor,
    if_match: int | None = None,
    note: str = "",
    edits: Mapping[str, Any] | None = None,
    accept_infeasible: bool = False,
    dry_run: bool = False,
) -> Rollout:
    """Carry out one verb.

    `start`, `advance` and `promote` behind a gate put the move before people instead of making it:
    the rollout comes back as it was, with an open proposal. Pause, rollback, abort, undo and an
    edit that only drops challengers ask for no version, approval or reason; they are repeated until
    they win against whoever else writes.

    Parameters
    ----------
    if_match : int, optional
        The generation that was read; required on verbs that can raise exposure.
    note : str
        Free text for the log.
    edits : mapping, optional
        What `edit` changes: `weights`, `eligible` (see `flow/edit.py`).
    accept_infeasible : bool
        `submit` goes on with a plan that cannot be relied on to decide, and says so in the log.
    dry_run : bool
        Evaluate everything and change nothing.

    Returns
    -------
    Rollout
        As it is afterwards (for `retry`, the new attempt).

    Raises
    ------
    NotFound, NotPermitted, PreconditionRequired, StaleVersion
    IllegalTransition
        With the legal verbs.
    GuardFailed
        With every guard that does not hold.
    """
    verb = Verb(verb)
    _check_role(verb, actor)
    wanted = _Wanted(
        project=project,
        rollout=rollout_id,
        verb=verb,
        actor=actor,
        if_match=if_match,
        note=note,
        edits=edits or {},
        accept_infeasible=accept_infeasible,
    )
    for _ in range(_ATTEMPTS):
        try:
            return _once(store, wanted, dry_run=dry_run)
        except StaleVersion:
            if not _wins(store, wanted):
                raise
    raise Unavailable("The rollout is being written without pause; ask again.")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """One verb as it was asked for."""

    project: str
    rollout: str
    verb: Verb
    actor: Actor
    if_match: int | None
    note: str
    edits: Mapping[str, Any]
    accept_infeasible: bool


class _Rehearsed(Exception):
    """Ends a transaction without committing it."""

    def __init__(self, rollout: Rollout) -> None:
        super().__init__()
        self.rollout = rollout


def _wins(store: Store, wanted: _Wanted) -> bool:
    """Whether the verb is repeated where somebody else wrote first: what retreats is."""
    with store.reading() as work:
        rollout = _read(work, wanted.project, wanted.rollout)
        _check_legal(rollout, wanted.verb)
        return _is_retreat(work, rollout, wanted)


def _once(store: Store, wanted: _Wanted, *, dry_run: bool) -> Rollout:
    try:
        with store.writing() as work:
            if wanted.verb is Verb.EDIT:
                work.stop_maturing(wanted.project, and_aggregating="eligible" in wanted.edits)
            work.take_turn(wanted.project)
            rollout = _read(work, wanted.project, wanted.rollout)
            _check_legal(rollout, wanted.verb)
            if not _is_retreat(work, rollout, wanted):
                _check_raise(rollout, wanted)
            after = _carry_out(work, rollout, wanted)
            return _rehearse(after) if dry_run else after
    except _Rehearsed as rehearsed:
        return rehearsed.rollout


def _carry_out(work: Work, rollout: Rollout, wanted: _Wanted) -> Rollout:
    if wanted.verb is Verb.EDIT:
        return edit(work, rollout, wanted.edits, actor=wanted.actor, note=wanted.note)
    if wanted.verb is Verb.SUBMIT:
        return submit(work, rollout, actor=wanted.actor, accept_infeasible=wanted.accept_infeasible)
    return _HANDLERS[wanted.verb](work, rollout, wanted.actor, wanted.note)


def _rehearse(after: Rollout) -> NoReturn:
    raise _Rehearsed(after)


# ---------------------------------------------------------------- before anything happens


def _check_role(verb: Verb, actor: Actor) -> None:
    # An edit that gives up challengers is a retreat; any other is refused in `_check_raise`.
    stops = verb in (Verb.PAUSE, Verb.ROLLBACK, Verb.ABORT, Verb.EDIT)
    if stops and Scope.STOP in actor.scopes:
        return
    if verb in (Verb.SUBMIT, Verb.RETRY):
        actor.require(*_AUTHORS)
    elif verb.raises_exposure and verb is not Verb.EDIT:  # an edit may retreat: `_check_raise`
        actor.require(*_ASKERS)
    else:
        actor.require(*_STOPPERS)


def _read(work: Work, project: str, rollout_id: str) -> Rollout:
    rollout = work.rollouts.get(project, rollout_id)
    if rollout is None:
        raise NotFound(f"There is no rollout {rollout_id!r:.80} in project {project!r}.")
    return rollout


def _check_legal(rollout: Rollout, verb: Verb) -> None:
    if verb not in legal_verbs(rollout.state):
        allowed = [legal.value for legal in legal_verbs(rollout.state)]
        raise IllegalTransition(
            f"A rollout in {rollout.state.value} cannot {verb.value}; "
            f"legal: {', '.join(allowed) or 'nothing'}.",
            allowed=allowed,
        )


def _is_retreat(work: Work, rollout: Rollout, wanted: _Wanted) -> bool:
    if wanted.verb is Verb.EDIT:
        return retreats(work, rollout, wanted.edits)
    return not wanted.verb.raises_exposure


def _check_raise(rollout: Rollout, wanted: _Wanted) -> None:
    """Whoever can raise exposure has seen what they raise."""
    if wanted.verb is Verb.EDIT:
        wanted.actor.require(*_ASKERS)
    if wanted.if_match is None:
        raise PreconditionRequired(
            f"{wanted.verb.value} can raise exposure: send If-Match with the resource_version you "
            "read."
        )
    if wanted.if_match != rollout.generation:
        raise StaleVersion(
            f"Rollout {rollout.id} is at version {rollout.generation}, you read {wanted.if_match}."
        )


# ---------------------------------------------------------------- raising


def _start(work: Work, rollout: Rollout, actor: Actor, note: str) -> Rollout:
    checks_first = rollout.frozen_plan.policy.aa is not None
    move, to = (Move.CHECK, State.AA_CHECK) if checks_first else (Move.START, State.RAMPING)
    return _ask(work, rollout, move, to, actor=actor, note=note)


def _advance(work: Work, rollout: Rollout, actor: Actor, note: str) -> Rollout:
    return _ask(work, rollout, Move.ADVANCE, State.RAMPING, actor=actor, note=note)


def _promote(work: Work, rollout: Rollout, actor: Actor, note: str) -> Rollout:
    return _ask(work, rollout, Move.PROMOTE, State.PROMOTING, actor=actor, note=note)


def _ask(
    work: Work, rollout: Rollout, move: Move, to: State, *, actor: Actor, note: str
) -> Rollout:
    """Make the move; where only the approval is missing, put it before people instead."""
    try:
        return transition(
            work, rollout, to, actor=actor, reason=f"{move.value}_by_operator", details=_said(note)
        )
    except GuardFailed as refusal:
        if {failure["guard"] for failure in refusal.failed} != {"approved"}:
            raise
    proposal = open_proposal(work, rollout, move, judgement_of(rollout), actor=actor)
    if proposal is not None and has_quorum(work, rollout, proposal):
        raise GuardFailed(
            "It is approved, but its claim does not hold on the newest evidence.",
            failed=[{"guard": "claim", "observed": proposal.document["claim"]}],
        )
    return rollout


def _resume(work: Work, rollout: Rollout, actor: Actor, note: str) -> Rollout:
    """Take back an operator's pause; what the data hold, only the data release."""
    others = [reason.value for reason in rollout.paused if reason is not Pause.OPERATOR]
    if others:
        raise GuardFailed(
            f"Rollout {rollout.id} is held by {', '.join(others)}, which clears by itself or not "
            "at all.",
            failed=[{"guard": f"paused.{reason}", "observed": True} for reason in others],
        )
    return release(work, rollout, Pause.OPERATOR, actor=actor, note=note)


def _retry(work: Work, rollout: Rollout, actor: Actor, _note: str) -> Rollout:
    """A new attempt at the same challengers: new id, new salt, no evidence carried over."""
    check_free(work, rollout.project, rollout.slot)
    stored = work.definitions.slot(rollout.project, rollout.slot)
    if stored is None:
        raise NotFound(f"There is no slot {rollout.slot!r} in project {rollout.project!r}.")
    check_models(stored.slot, rollout.draft.challengers)
    policy = usable_policy(work, rollout.project, stored.slot, rollout.draft.policy)
    asks = actor.name if actor.is_person else rollout.draft.requested_by
    draft = replace(rollout.draft, requested_by=asks)
    check_quorum(work, rollout.project, policy, draft)
    return new_draft(work, rollout.project, rollout.slot, draft, actor=actor, retry_of=rollout)


# ---------------------------------------------------------------- retreating


def _pause(work: Work, rollout: Rollout, actor: Actor, note: str) -> Rollout:
    return hold(work, rollout, Pause.OPERATOR, actor=actor, note=note)


def _rollback(work: Work, rollout: Rollout, actor: Actor, note: str) -> Rollout:
    return retreat(work, rollout, actor=actor, reason="rolled_back_by_operator", note=note)


def _abort(work: Work, rollout: Rollout, actor: Actor, note: str) -> Rollout:
    return retreat(work, rollout, actor=actor, reason="aborted", note=note)


def retreat(work: Work, rollout: Rollout, *, actor: Actor, reason: str, note: str = "") -> Rollout:
    """Back to the champion: cancelled where nobody met the challenger, else rolled back."""
    if rollout.state is State.ROLLING_BACK:
        return rollout
    to = State.ROLLING_BACK if rollout.state.exposed else State.CANCELLED
    return transition(work, rollout, to, actor=actor, reason=reason, details=_said(note))


def _undo(work: Work, rollout: Rollout, actor: Actor, note: str) -> Rollout:
    """The previous champion serves again at once; a rollout that compares with ours ends first."""
    live = work.rollouts.live_in(rollout.project, rollout.slot)
    if live is not None:
        retreat(work, live, actor=actor, reason="champion_changed", note=f"undo of {rollout.id}")
    restored = back_to(rollout, slot_of(work, rollout)).label
    return transition(
        work,
        rollout,
        State.ROLLED_BACK,
        actor=actor,
        reason="undone",
        details={**_said(note), "champion": restored},
    )


def _said(note: str) -> dict[str, str]:
    return {"note": note} if note else {}


_HANDLERS: dict[Verb, Callable[[Work, Rollout, Actor, str], Rollout]] = {
    Verb.START: _start,
    Verb.ADVANCE: _advance,
    Verb.PROMOTE: _promote,
    Verb.RESUME: _resume,
    Verb.RETRY: _retry,
    Verb.PAUSE: _pause,
    Verb.ROLLBACK: _rollback,
    Verb.ABORT: _abort,
    Verb.UNDO: _undo,
}
