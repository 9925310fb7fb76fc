"""What a method may answer instead of a number: a named reason why it cannot conclude.

`Inconclusive` is a value, not an error: data that cannot carry a conclusion (one arm empty, no
variance yet, information that went backwards) are normal in a young rollout. It never becomes
p = 1 or an effect of zero; a caller that wants a number has to look at the type first.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Alternative = Literal["two-sided", "larger", "smaller"]
"""Direction of the claim about `treatment - control`: it differs, is larger, or is smaller."""


class Reason(StrEnum):
    """Why a method could not conclude."""

    NO_DATA = "no_data"
    ARM_EMPTY = "arm_empty"
    TOO_FEW_UNITS = "too_few_units"
    BURN_IN = "burn_in"
    ZERO_VARIANCE = "zero_variance"
    NOT_FINITE = "not_finite"
    BASELINE_ZERO = "baseline_zero"
    BASELINE_NOT_POSITIVE = "baseline_not_positive"
    DENOMINATOR_ZERO = "denominator_zero"
    GRID_EXCEEDED = "grid_exceeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inconclusive:
    """The data do not carry a conclusion, and why.

    Parameters
    ----------
    reason : str
        A stable word, usually a member of `Reason`.
    detail : str
        One sentence for a person; empty when the reason says it all.
    """

    reason: str
    detail: str = ""
