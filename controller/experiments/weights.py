"""How enrolled units are shared out between arms, as people write it down."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from controller.errors import InvalidInput
from controller.experiments.document import parse_share

LEAST_WEIGHT: Final = 0.001
"""Ten of 10,000 buckets: less is a share that nothing could be shown with."""
_SLACK: Final = 0.001


def read_weights(
    value: Any, arms: Sequence[str], where: str, *, zero: bool = False
) -> dict[str, float]:
    """One share for every arm, adding up to 1, in the order of `arms`.

    Parameters
    ----------
    value : mapping of arm to share
        Shares in [0, 1] or strings like ``"20%"``; thirds may be rounded to three decimals.
    zero : bool
        Whether an arm may be given nothing; the champion never.

    Raises
    ------
    InvalidInput
        Naming the arm and the rule.

    Examples
    --------
    >>> read_weights({"challenger": "20%", "champion": 0.8}, ["champion", "challenger"], "weights")
    {'champion': 0.8, 'challenger': 0.2}
    """
    if not isinstance(value, Mapping):
        raise InvalidInput(
            f'{where}: expected an object like {{"champion": 0.5, "challenger": 0.5}}.',
            field=where,
        )
    named = set(map(str, value))
    for arm in [*(arm for arm in arms if arm not in named), *sorted(named - set(arms))]:
        problem = "is required" if arm in arms else "is no arm of this rollout"
        raise InvalidInput(
            f"{where}.{arm:.64}: {problem}; name {', '.join(arms)}.", field=f"{where}.{arm:.64}"
        )
    shares = {arm: parse_share(value[arm], f"{where}.{arm}") for arm in arms}
    for arm, share in shares.items():
        nothing = zero and share == 0.0 and arm != arms[0]
        if share < LEAST_WEIGHT and not nothing:
            raise InvalidInput(
                f"{where}.{arm}: expected at least {LEAST_WEIGHT:g}.", field=f"{where}.{arm}"
            )
    total = math.fsum(shares.values())
    if abs(total - 1.0) > _SLACK:
        raise InvalidInput(f"{where}: add up to {total:.4g}, not to 1.", field=where)
    return {arm: share / total for arm, share in shares.items()} if total != 1.0 else shares
