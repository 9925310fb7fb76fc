"""How alpha is spent, as a policy or a description writes it down: a family and what shapes it."""

from __future__ import annotations

from typing import NamedTuple

from controller.errors import InvalidInput
from controller.experiments.document import Fields, parse_share
from controller.experiments.policies import Spending

_MOST_POINTS = 100
_USUAL_RHO = 2.0


class SpendingChoice(NamedTuple):
    """A family of spending functions, and what shapes it.

    `gamma` shapes Hwang-Shih-DeCani, `rho` Kim-DeMets; `table` holds the points (share of the
    horizon, share of alpha) of a tabulated function, straight lines between them.
    """

    spending: Spending = Spending.HSD
    gamma: float = -2.0
    rho: float = _USUAL_RHO
    table: tuple[tuple[float, float], ...] = ()


USUAL = SpendingChoice()
"""Of a test without futility."""


def read_spending(fields: Fields, *, usual_gamma: float) -> SpendingChoice:
    """Read `spending`, `gamma`, `rho` and `spending_table`.

    Raises
    ------
    InvalidInput
        If a value lies outside its range, or `rho` or a table goes with another family.
    """
    spending = fields.choice("spending", Spending, Spending.HSD)
    for key, family in (("rho", Spending.KIM_DEMETS), ("spending_table", Spending.TABULATED)):
        if fields.has(key) and spending is not family:
            where = fields.at(key)
            raise InvalidInput(f"{where}: belongs to spending: {family.value}.", field=where)
    return SpendingChoice(
        spending=spending,
        gamma=fields.number("gamma", usual_gamma, least=-40, most=40),
        rho=fields.number("rho", _USUAL_RHO, above=0, most=40),
        table=_table(fields) if spending is Spending.TABULATED else (),
    )


def _table(fields: Fields) -> tuple[tuple[float, float], ...]:
    """Points (share of the horizon, share of alpha) that rise to (1, 1)."""
    points: list[tuple[float, float]] = []
    before = (0.0, 0.0)
    for index, item in enumerate(fields.items("spending_table", most=_MOST_POINTS)):
        where = f"{fields.at('spending_table')}[{index}]"
        if not isinstance(item, list | tuple) or len(item) != 2:
            raise InvalidInput(
                f"{where}: expected two shares, [of the horizon, of alpha].", field=where
            )
        point = (parse_share(item[0], f"{where}[0]"), parse_share(item[1], f"{where}[1]"))
        if not (point[0] > before[0] and point[1] >= before[1]):
            raise InvalidInput(
                f"{where}: the share of the horizon rises, and the share of alpha never falls, "
                "beginning at [0, 0].",
                field=where,
            )
        points.append(point)
        before = point
    if before != (1.0, 1.0):
        where = fields.at("spending_table")
        raise InvalidInput(f"{where}: has to end at [1, 1].", field=where)
    return tuple(points)
