"""Importing this module fills the metadata with every table."""

from __future__ import annotations

from controller.storage.sql.schema import control, definitions, events, inbox, people, rollouts

__all__ = ["control", "definitions", "events", "inbox", "people", "rollouts"]
