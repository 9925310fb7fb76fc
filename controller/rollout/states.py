"""The states of a rollout and what is true of each."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a rollout is in its life."""

    DRAFT = "Draft"
    VALIDATING = "Validating"
    SHADOW = "Shadow"
    AA_CHECK = "AACheck"
    RAMPING = "Ramping"
    DECIDING = "Deciding"
    PROMOTING = "Promoting"
    BAKING = "Baking"
    PROMOTED = "Promoted"
    ROLLING_BACK = "RollingBack"
    ROLLED_BACK = "RolledBack"
    CANCELLED = "Cancelled"
    SUPERSEDED = "Superseded"

    @property
    def terminal(self) -> bool:
        """Nothing happens any more (a promotion may still be undone by a verb)."""
        return self in TERMINAL

    @property
    def live(self) -> bool:
        """The rollout occupies its slot."""
        return not self.terminal and self is not State.DRAFT

    @property
    def exposed(self) -> bool:
        """Units may be meeting the challenger."""
        return self in EXPOSED


TERMINAL = frozenset({State.PROMOTED, State.ROLLED_BACK, State.CANCELLED, State.SUPERSEDED})
EXPOSED = frozenset({State.RAMPING, State.DECIDING, State.PROMOTING, State.BAKING})


class Verdict(StrEnum):
    """The judge's output for a rollout."""

    UNKNOWN = "UNKNOWN"
    KEEP_GOING = "KEEP_GOING"
    PROMOTE = "PROMOTE"
    ROLLBACK = "ROLLBACK"
    NO_DIFFERENCE = "NO_DIFFERENCE"


class Pause(StrEnum):
    """Why a rollout is held; each reason clears only by its own rule."""

    OPERATOR = "operator"
    DATA_MISSING = "data_missing"
    SRM = "srm"
    ARM_MISMATCH = "arm_mismatch"
    DOUBLE_EXPOSURE = "double_exposure"
    HARM = "harm"
    APPROVAL_PENDING = "approval_pending"


class Verb(StrEnum):
    """What a person may ask of a rollout."""

    SUBMIT = "submit"
    START = "start"
    ADVANCE = "advance"
    PAUSE = "pause"
    RESUME = "resume"
    PROMOTE = "promote"
    ROLLBACK = "rollback"
    ABORT = "abort"
    UNDO = "undo"
    RETRY = "retry"
    EDIT = "edit"

    @property
    def raises_exposure(self) -> bool:
        """Needs If-Match; retreat never does."""
        return self in RAISING


RAISING = frozenset(
    {
        Verb.SUBMIT,
        Verb.START,
        Verb.ADVANCE,
        Verb.RESUME,
        Verb.PROMOTE,
        Verb.RETRY,
        Verb.EDIT,
    }
)
