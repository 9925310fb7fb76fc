"""The sheets that pictures are drawn on: a wide one, and a narrow one for a telephone.

Both are drawn and the stylesheet shows the one that fits: letters have their size on either.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Literal

from markupsafe import Markup


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvas:
    """A sheet, in pixels, with the place of the plot on it."""

    name: Literal["wide", "narrow"]
    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float

    @property
    def narrow(self) -> bool:
        """Whether there is room for few words only."""
        return self.name == "narrow"

    @property
    def columns(self) -> int:
        """About how many ticks fit side by side."""
        return 4 if self.narrow else 9

    def tall(self, height: float) -> Canvas:
        """The same sheet with another height."""
        return replace(self, height=height, bottom=self.bottom + height - self.height)


WIDE: Final = Canvas(name="wide", width=1000, height=330, left=56, right=992, top=26, bottom=286)
NARROW: Final = Canvas(name="narrow", width=330, height=250, left=44, right=322, top=26, bottom=206)


def on_both(draw: Callable[[Canvas], Markup]) -> Markup:
    """The picture on either sheet."""
    return draw(WIDE) + draw(NARROW)
