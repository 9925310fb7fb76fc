"""Importing this module fills the metadata with every table."""

from __future__ import annotations

from controller.storage.sql.schema import (
    control,
    definitions,
    events,
    identities,
    inbox,
    people,
    rollouts,
    traffic,
)

__all__ = [
    "control",
    "definitions",
    "events",
    "identities",
    "inbox",
    "people",
    "rollouts",
    "traffic",
]
