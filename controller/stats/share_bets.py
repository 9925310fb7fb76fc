"""Two shares compared from counts alone: an e-process that is exact at any count, however small.

Each unit is a round of a fair game under the null. With A whether it met the treatment (probability
s), Y whether it was hit (an error, a conversion), the score

    g = A Y / s - scale (1 - A) Y / (1 - s)

has mean p1 - scale p0 whatever the units before it did, so under "p1 <= scale p0 + shift" staking
the part lambda of the capital on g - shift is a fair or losing bet, and the capital a test
supermartingale. p0 and p1 may move over time, together. With lambda fixed, the capital depends on
four counts and needs no order; a mixture over several stakes depends on them too. With shift 0 a
unit that was not hit leaves the capital alone: what remains is the conditional test of `counts`,
each hit a draw between the arms, at a discrete prior. Absolute margins need the other units.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from controller.errors import InvalidInput

# Parts of the largest stake that cannot lose everything: odds from 1:32 to 32:1, equally likely.
STAKES = tuple(1.0 / (1.0 + 2.0**k) for k in range(-5, 6))

Payoffs = tuple[tuple[float, float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochHits:
    """Units and hits of two arms in one epoch.

    Attributes
    ----------
    control, control_hits, treatment, treatment_hits : int
        Complete units of each arm, and those of them that were hit.
    share : float
        Probability with which a unit of either arm was assigned the treatment, in (0, 1).
    """

    control: int
    control_hits: int
    treatment: int
    treatment_hits: int
    share: float

    def __post_init__(self) -> None:
        if not 0.0 < self.share < 1.0:
            raise InvalidInput("share must lie in (0, 1)", field="share")
        if not (0 <= self.control_hits <= self.control):
            raise InvalidInput("hits are some of the units", field="control_hits")
        if not (0 <= self.treatment_hits <= self.treatment):
            raise InvalidInput("hits are some of the units", field="treatment_hits")


def share_log_e(
    epochs: Sequence[EpochHits],
    *,
    alternative: Literal["larger", "smaller"],
    scale: float = 1.0,
    shift: float = 0.0,
) -> float:
    """Log e-value against "treatment's share is no larger (smaller) than scale p0 + shift".

    Parameters
    ----------
    epochs : sequence of EpochHits
        In any order; every unit counts in the epoch it was assigned in.
    alternative : {"larger", "smaller"}
        Of treatment's share of hit units.
    scale, shift : float
        The null's boundary: (1 + m, 0) or (1, m) for a margin of harm m where a hit is bad.

    Returns
    -------
    float
        Finite. Valid at every look, in any number of looks, from the first unit on.

    Raises
    ------
    InvalidInput
        If the null is no line through possible shares.

    References
    ----------
    .. [1] Waudby-Smith and Ramdas (2024), "Estimating means of bounded random variables by
       betting", JRSS B 86(1), section 4: capital processes; section 4.4: mixtures over stakes.
    .. [2] Lindon and Malek (2022), arXiv 2011.03567, section 3: the conditional test.
    """
    if not (math.isfinite(scale) and scale >= 0.0 and math.isfinite(shift)):
        raise InvalidInput("scale >= 0 and shift are finite", field="scale")
    sign = 1.0 if alternative == "larger" else -1.0
    capital = [0.0] * len(STAKES)
    for epoch in epochs:
        hits, control_hits = epoch.treatment_hits, epoch.control_hits
        spared = epoch.control + epoch.treatment - hits - control_hits
        payoffs = _payoffs(epoch.share, scale, shift, sign)
        capital = [
            before + hits * hit + control_hits * control_hit + spared * none
            for before, (hit, control_hit, none) in zip(capital, payoffs, strict=True)
        ]
    most = max(capital)
    total = math.fsum([math.exp(each - most) for each in capital])
    return most + math.log(total / len(STAKES))


@lru_cache(maxsize=1024)  # a plan asks for the same few at every look
def _payoffs(share: float, scale: float, shift: float, sign: float) -> Payoffs:
    """Per stake the log of what the capital is multiplied by: treatment hit, control hit, none."""
    gains = (
        sign * (1.0 / share - shift),
        -sign * (scale / (1.0 - share) + shift),
        -sign * shift,
    )
    worst = -min(gains)
    if not worst > 0.0:
        raise InvalidInput("a null that no outcome could support", field="shift")
    hit, control_hit, none = gains
    return tuple(
        (
            math.log1p(stake * hit / worst),
            math.log1p(stake * control_hit / worst),
            math.log1p(stake * none / worst),
        )
        for stake in STAKES
    )
