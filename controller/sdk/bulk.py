"""Arms of whole columns of units at once, with numpy (extra ``[bulk]``).

The answers are those of `assignment.evaluate`, bit for bit. The hash is the same SHA-256 per unit;
what is saved is everything around it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.assignment.choice import Choice
from controller.assignment.digest import sha256
from controller.assignment.evaluate import Evaluator, unknown_slot
from controller.assignment.hashing import MAX_UNIT_BYTES
from controller.assignment.ruleset import Ruleset

_DIGEST = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkChoices:
    """Answers for many units: unit `i` got ``choices[codes[i]]``.

    Attributes
    ----------
    choices : tuple of Choice
        Each different answer once.
    codes : ndarray of int16, shape (n_units,)
        Which answer each unit got.
    """

    choices: tuple[Choice, ...]
    codes: NDArray[np.int16]

    @property
    def arms(self) -> NDArray[np.object_]:
        """Arm names, shape (n_units,)."""
        return self._each([choice.arm for choice in self.choices])

    @property
    def reasons(self) -> NDArray[np.object_]:
        """Reasons, shape (n_units,)."""
        return self._each([choice.reason.value for choice in self.choices])

    @property
    def exposed(self) -> NDArray[np.bool_]:
        """Whether meeting the answer is an exposure, shape (n_units,)."""
        return np.array([choice.exposed for choice in self.choices], dtype=bool)[self.codes]

    def _each(self, values: Sequence[str]) -> NDArray[np.object_]:
        return np.array(values, dtype=object)[self.codes]


def assign_array(
    ruleset: Ruleset,
    slot: str,
    units: Sequence[str],
    attributes: Mapping[str, Sequence[Any]] | None = None,
) -> BulkChoices:
    """The answer of one slot for every unit, without exposures.

    Parameters
    ----------
    units : sequence of str, length n
        A list, a numpy array or a pandas column of ids.
    attributes : mapping of name to sequence, optional
        Columns of length n.
    """
    listed = list(units)
    rules = ruleset.slots.get(slot)
    if rules is None:
        return _same(unknown_slot(slot, ruleset.version), len(listed))
    evaluator = Evaluator(rules, ruleset.version)
    plain = not evaluator.gates and evaluator.eligible is None and evaluator.fixed is None
    if plain and listed and _all_plain(listed):
        return _split(evaluator, listed)
    return _one_by_one(evaluator, listed, attributes or {})


def _split(evaluator: Evaluator, units: list[str]) -> BulkChoices:
    """Enrolment and arm of every unit by comparisons of whole columns."""
    start = evaluator.prefix
    encoded = "\n".join(units).encode().split(b"\n")
    digests = b"".join([sha256(start + unit).digest() for unit in encoded])
    words = np.frombuffer(digests, dtype=">u4").reshape(-1, _DIGEST // 4)
    limits = np.array([int.from_bytes(limit) for limit in evaluator.limits], dtype=np.uint32)
    codes = np.searchsorted(limits, words[:, 1].astype(np.uint32), side="right") + 1
    below = evaluator.enrolled_below
    if len(below) == 4:  # else everybody is enrolled
        codes[words[:, 0] >= int.from_bytes(below)] = 0
    return BulkChoices(
        choices=(evaluator.not_enrolled, *evaluator.choices), codes=codes.astype(np.int16)
    )


def _one_by_one(
    evaluator: Evaluator, units: list[str], columns: Mapping[str, Sequence[Any]]
) -> BulkChoices:
    """Every rule for every unit, where whole columns cannot say it."""
    names = list(columns)
    rows = zip(*columns.values(), strict=True) if columns else (() for _ in units)
    places: dict[int, int] = {}
    choices: list[Choice] = []
    codes = np.empty(len(units), dtype=np.int16)
    for number, (unit, row) in enumerate(zip(units, rows, strict=True)):
        choice = evaluator.evaluate(unit, dict(zip(names, row, strict=True)))
        place = places.setdefault(id(choice), len(choices))
        if place == len(choices):
            choices.append(choice)
        codes[number] = place
    return BulkChoices(choices=tuple(choices), codes=codes)


def _same(choice: Choice, count: int) -> BulkChoices:
    return BulkChoices(choices=(choice,), codes=np.zeros(count, dtype=np.int16))


def _all_plain(units: list[str]) -> bool:
    """Whether every unit is a valid id of printable ASCII."""
    if not all(isinstance(unit, str) for unit in units):
        return False
    lengths = [len(unit) for unit in units]
    joined = "".join(units)
    short = min(lengths) > 0 and max(lengths) <= MAX_UNIT_BYTES
    return short and joined.isascii() and joined.isprintable()
