"""Exit codes of every command and how an error becomes one."""

from __future__ import annotations

from enum import IntEnum

from controller.errors import (
    Conflict,
    ControllerError,
    GuardFailed,
    InvalidInput,
    NotFound,
    NotPermitted,
    StaleVersion,
    Unauthenticated,
)


class Exit(IntEnum):
    """What a script may switch on."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    NOT_FOUND = 3
    NOT_PERMITTED = 4
    CONFLICT = 5
    HELD = 6
    ROLLED_BACK = 7
    NEEDS_APPROVAL = 8


_CODES: tuple[tuple[type[ControllerError], Exit], ...] = (
    (InvalidInput, Exit.USAGE),
    (NotFound, Exit.NOT_FOUND),
    (NotPermitted, Exit.NOT_PERMITTED),
    (Unauthenticated, Exit.NOT_PERMITTED),
    (GuardFailed, Exit.HELD),
    (StaleVersion, Exit.CONFLICT),
    (Conflict, Exit.CONFLICT),
)


def exit_code(problem: ControllerError) -> Exit:
    """The exit code of an error; 1 where none fits better."""
    return next((code for kind, code in _CODES if isinstance(problem, kind)), Exit.FAILURE)
