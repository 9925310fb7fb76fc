"""Sums without rounding: a whole number times a power of two.

Every finite float is such a number, and so are sums and products of floats. Kept this way a sum
has no order: adding, taking out and recomputing give the same bits. It is rounded once, when a mean
or a sum of squares is read, by Python's integer division, which rounds correctly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from controller.errors import InvalidInput


class Exact(NamedTuple):
    """`mantissa * 2**-scale`; canonical: the mantissa is odd, or both are 0."""

    mantissa: int
    scale: int

    def plus(self, other: Exact) -> Exact:
        """The sum."""
        if not other.mantissa:
            return self
        coarse, fine = (self, other) if self.scale < other.scale else (other, self)
        return canonical(
            (coarse.mantissa << (fine.scale - coarse.scale)) + fine.mantissa, fine.scale
        )

    def minus(self, other: Exact) -> Exact:
        """The difference."""
        return self.plus(Exact(-other.mantissa, other.scale))

    def text(self) -> str:
        """Canonical text: hexadecimal mantissa, `p`, power of two; 2.5 is ``5p-1``."""
        return f"{self.mantissa:x}p{-self.scale}"


ZERO = Exact(0, 0)


def canonical(mantissa: int, scale: int) -> Exact:
    """The one way to write `mantissa * 2**-scale`."""
    if not mantissa:
        return ZERO
    zeros = (mantissa & -mantissa).bit_length() - 1
    return Exact(mantissa >> zeros, scale - zeros)


def parse(text: str) -> Exact:
    """Read `Exact.text` back.

    Raises
    ------
    InvalidInput
        If this is not such a text.
    """
    mantissa, separator, power = text.partition("p")
    try:
        if separator:
            return canonical(int(mantissa, 16), -int(power))
    except ValueError:
        pass
    raise InvalidInput(f"{text!r:.60} is not an exact number.", field="sums")


def scaled(numbers: Sequence[float]) -> tuple[list[int], int]:
    """Integers and one scale, such that `integer * 2**-scale` is each number exactly.

    Parameters
    ----------
    numbers : sequence of float, shape (n,)
        Finite.
    """
    ratios = [number.as_integer_ratio() for number in numbers]
    bits = max((below for _, below in ratios), default=1).bit_length()
    return [above << (bits - below.bit_length()) for above, below in ratios], bits - 1


def mean(sum_: Exact, n: int) -> float:
    """`sum / n`, rounded once."""
    return divide(sum_, n)


def co_deviation(product: Exact, left: Exact, right: Exact, n: int) -> float:
    """The sum of products of deviations, `sum(x y) - sum(x) sum(y) / n`, rounded once.

    With `left` equal to `right` and `product` the sum of squares this is the sum of squared
    deviations, and never negative.
    """
    if not product.mantissa and not (left.mantissa and right.mantissa):
        return 0.0
    whole = Exact(n * product.mantissa, product.scale)
    both = Exact(left.mantissa * right.mantissa, left.scale + right.scale)
    return divide(whole.minus(both), n)


def divide(number: Exact, n: int) -> float:
    """`number / n` as the nearest float.

    Raises
    ------
    OverflowError
        If the result is larger than any float.
    """
    if number.scale >= 0:
        return number.mantissa / (n << number.scale)
    return (number.mantissa << -number.scale) / n
