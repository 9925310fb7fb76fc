"""Modules that are loaded when first needed, and never while another thread forks.

A fork in the middle of an import leaves the child with a half-made module whose lock nobody will
ever release. So everything the SDK imports late, it imports here, under a lock that a fork takes
first.
"""

from __future__ import annotations

import os
from importlib import import_module
from threading import RLock
from typing import Final

NETWORK: Final = (
    "json",
    "controller.assignment.document",
    "controller.sdk.refresh",
    "controller.sdk.reports",
    "controller.sdk.spool",
    "controller.sdk.store",
    "controller.sdk.transport",
    "controller.sdk.wire",
)

_state = {"lock": RLock()}


def ensure_loaded(*names: str) -> None:
    """Import modules; an ordinary import statement of them afterwards takes no lock for long."""
    with _state["lock"]:
        for name in names:
            import_module(name)


def _before_fork() -> None:
    _state["lock"].acquire()


def _after_in_parent() -> None:
    _state["lock"].release()


def _after_in_child() -> None:
    _state["lock"] = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_in_parent, after_in_child=_after_in_child
    )
