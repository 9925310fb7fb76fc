"""Which arms a recorded experiment has, and which of them is in charge."""

from __future__ import annotations

from collections.abc import Iterable

from controller.analysis.offline.spec import AnalysisSpec
from controller.errors import InvalidInput

_CHAMPION_NAMES = ("champion", "control")


def with_declared(spec: AnalysisSpec, found: Iterable[str]) -> tuple[str, ...]:
    """The arms of the data and those that should have been there: an empty arm is a finding."""
    declared = [arm for shares in spec.weights.values() for arm, share in shares.items() if share]
    return tuple(dict.fromkeys([*found, *declared]))


def pick_champion(spec: AnalysisSpec, arms: tuple[str, ...]) -> str:
    """The champion among the arms found, by the description or by its usual name."""
    if spec.champion is not None:
        if spec.champion not in arms:
            raise InvalidInput(
                f"spec.arm.champion: no row has arm {spec.champion!r:.60}; "
                f"the data have {', '.join(map(repr, arms[:10]))}.",
                field="spec.arm.champion",
            )
        return spec.champion
    usual = [name for name in _CHAMPION_NAMES if name in arms]
    if len(usual) != 1:
        raise InvalidInput("spec.arm.champion: say which arm is in charge.", field="spec.arm")
    return usual[0]
