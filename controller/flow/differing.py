"""An effect that is not the same in every stage, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from controller.flow.numbers import Measure, share

_MOST_NAMED: Final = 4

Effects = Sequence[Mapping[str, Any]]


def differing(comparison: Mapping[str, Any], measure: Measure) -> str:
    """What the estimate is an average of, where the stages disagree; else empty.

    Parameters
    ----------
    comparison : mapping
        Of a status or evidence document.
    """
    epochs = comparison.get("epochs")
    if not epochs or not epochs["differ"]:
        return ""
    effects = epochs["effects"]
    tested = [one for one in effects if one["tested"]]
    most = max(effects, key=lambda one: float(one["share"]))
    return (
        f"The effect differs between stages: {_apart(tested, effects, measure)}. "
        f"The difference shown is their average; {share(most['share'])} of it comes from the "
        f"stage with {stage_words(most, effects)}."
    )


def stage_words(effect: Mapping[str, Any], effects: Effects) -> str:
    """How one stage is called: by its share of traffic, and its number where that is not enough."""
    text = f"{share(effect['enrolled'])} of traffic"
    alike = [one for one in effects if one["enrolled"] == effect["enrolled"]]
    return f"{text} (epoch {effect['epoch']})" if len(alike) > 1 else text


def stage_decimals(effects: Effects, measure: Measure) -> int:
    """Decimals that show two digits of the smallest standard error."""
    return measure.decimals(*[one["standard_error"] for one in effects])


def _apart(tested: Effects, effects: Effects, measure: Measure) -> str:
    decimals = stage_decimals(tested, measure)

    def said(one: Mapping[str, Any]) -> str:
        return f"{measure.difference(one['estimate'], decimals)} at {stage_words(one, effects)}"

    if len(tested) <= _MOST_NAMED:
        return ", ".join(said(one) for one in tested)
    low, high = (pick(tested, key=lambda one: float(one["estimate"])) for pick in (min, max))
    return f"over {len(tested)} of them from {said(low)} to {said(high)}"
