"""Every error the product raises on purpose: one base, small classes, a stable code each.

`code` is what clients switch on; it never changes once released. The class docstring is the help a
person gets, the message says what happened and what to do. Only `service/http/problems.py` knows
how a code maps to an HTTP status, and only `cli` how it maps to an exit code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar


class ControllerError(Exception):
    """Something the product refuses or cannot do, said in one sentence."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str | None = None, **details: Any) -> None:
        super().__init__(message or (type(self).__doc__ or "").splitlines()[0])
        self.details: dict[str, Any] = details

    @property
    def message(self) -> str:
        """The sentence that is shown to a person."""
        return str(self.args[0])


class InvalidInput(ControllerError):
    """A value is missing, of the wrong type or outside its range."""

    code = "invalid_input"

    def __init__(self, message: str | None = None, *, field: str = "", **details: Any) -> None:
        super().__init__(message, **({"field": field} if field else {}), **details)
        self.field = field


class NotFound(ControllerError):
    """No such thing in this project."""

    code = "not_found"


class Conflict(ControllerError):
    """The request contradicts what is already there."""

    code = "conflict"


class DesignFrozen(Conflict):
    """A definition in use by a live rollout cannot be changed."""

    code = "design_frozen"


class IllegalTransition(Conflict):
    """The rollout's state does not allow this verb; the legal verbs are listed."""

    code = "illegal_transition"

    def __init__(self, message: str | None = None, *, allowed: Sequence[str] = ()) -> None:
        super().__init__(message, allowed=list(allowed))
        self.allowed = tuple(allowed)


class GuardFailed(ControllerError):
    """The transition is legal, but a guard does not hold; those that failed are listed."""

    code = "guard_failed"

    def __init__(
        self, message: str | None = None, *, failed: Sequence[dict[str, Any]] = ()
    ) -> None:
        super().__init__(message, failed=list(failed))
        self.failed = tuple(failed)


class StaleVersion(ControllerError):
    """Somebody changed it since you read it: read again, then decide again."""

    code = "stale_version"


class PreconditionRequired(ControllerError):
    """A verb that can raise exposure needs If-Match with the version you looked at."""

    code = "precondition_required"


class PolicyNotAllowed(ControllerError):
    """The slot does not list this policy."""

    code = "policy_not_allowed"


class ChampionChangesByRollout(Conflict):
    """A living slot's champion changes by a rollout, never by editing the slot."""

    code = "champion_changes_by_rollout"


class BaselineUnknown(ControllerError):
    """The baseline is unknown, so a minimum effect cannot be turned into a horizon."""

    code = "baseline_unknown"


class PlanInfeasible(ControllerError):
    """The plan is known to be unable to decide within its limits; what would help is listed."""

    code = "plan_infeasible"

    def __init__(self, message: str | None = None, *, advice: Sequence[str] = ()) -> None:
        super().__init__(message, advice=list(advice))
        self.advice = tuple(advice)


class QuorumImpossible(ControllerError):
    """Nobody present could ever approve this rollout."""

    code = "quorum_impossible"


class NotPermitted(ControllerError):
    """The caller is known but may not do this."""

    code = "not_permitted"


class Unauthenticated(ControllerError):
    """No valid key, token or session came with the request."""

    code = "unauthenticated"


class BatchReuse(Conflict):
    """This batch id was already used for other bytes."""

    code = "batch_reuse"


class AliasConflict(Conflict):
    """This alias contradicts what is known about its ids: already another unit's, or a circle."""

    code = "alias_conflict"


class IdempotencyMismatch(ControllerError):
    """This Idempotency-Key was already used for another request."""

    code = "idempotency_mismatch"


class ApprovalInvalid(Conflict):
    """The proposal is no longer open, or what it says is no longer what would happen."""

    code = "approval_invalid"


class Unavailable(ControllerError):
    """A store that is needed for this does not answer; nothing was changed."""

    code = "unavailable"


class RulesetRefused(ControllerError):
    """The ruleset is older, damaged or foreign, and was not applied."""

    code = "ruleset_refused"


class LeaseLost(ControllerError):
    """Another reconciler holds the lease; this one must stop acting."""

    code = "lease_lost"


class SetupFailed(ControllerError):
    """The process cannot start; the sentence says what to do."""

    code = "setup_failed"
