"""A ruleset that the application brings along."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controller.assignment.ruleset import Ruleset
from controller.errors import RulesetRefused


def from_bootstrap(source: str | Path | Mapping[str, Any]) -> Ruleset:
    """A ruleset given by the application itself: a file or a document. It is trusted as it is.

    Raises
    ------
    RulesetRefused
        If it cannot be read or used.
    """
    if isinstance(source, Mapping):
        return Ruleset.from_document(source)
    try:
        return Ruleset.from_bytes(Path(source).read_bytes())
    except (OSError, TypeError, ValueError) as error:
        raise RulesetRefused(f"The bootstrap file cannot be read: {error}.") from error
