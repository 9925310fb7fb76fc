"""Arms of whole columns of units at once, with numpy (extra ``[bulk]``).

The answers are those of `assignment.evaluate`, bit for bit, and every id is checked by its rules. A
rollout that splits with XXH3 is hashed column by column, some tens of times faster than one unit
after the other; SHA-256 is computed unit by unit (no numpy can help) and only the rest is saved.
Nothing is hashed where the answer does not depend on it. Exposures stay with the caller.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from controller.assignment.choice import Choice
from controller.assignment.digest import sha256
from controller.assignment.evaluate import Evaluator, unknown_slot
from controller.assignment.hashing import MAX_UNIT_BYTES
from controller.assignment.ruleset import Ruleset
from controller.assignment.xxh3 import LONGEST_MIDDLE, SHORTEST_MIDDLE, hash_middle, xxh3_digest
from controller.errors import InvalidInput

_DIGEST: Final = 32
_BLOCK: Final = 16_384  # rows hashed at a time: their columns stay in a processor's cache
_NEWLINE, _SPACE, _DELETE = 0x0A, 0x20, 0x7F
_UNDECIDED: Final = -1

Bytes = NDArray[np.uint8]
Words = NDArray[np.uint64]
Places = NDArray[np.intp]
Codes = NDArray[np.int16]


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkChoices:
    """Answers for many units: unit `i` got ``choices[codes[i]]``.

    Attributes
    ----------
    choices : tuple of Choice
        Each answer that a unit of this slot can get, once.
    codes : ndarray of int16, shape (n_units,)
        Which answer each unit got.
    """

    choices: tuple[Choice, ...]
    codes: Codes

    @property
    def arms(self) -> NDArray[np.object_]:
        """Arm names, shape (n_units,)."""
        return self._each([choice.arm for choice in self.choices])

    @property
    def reasons(self) -> NDArray[np.object_]:
        """Reasons, shape (n_units,)."""
        return self._each([choice.reason.value for choice in self.choices])

    @property
    def arm_categories(self) -> tuple[tuple[str, ...], Codes]:
        """Names of arms and the place of each unit's in them: a categorical column's two parts."""
        return self._categories([choice.arm for choice in self.choices])

    @property
    def reason_categories(self) -> tuple[tuple[str, ...], Codes]:
        """The same of the reasons."""
        return self._categories([choice.reason.value for choice in self.choices])

    @property
    def exposed(self) -> NDArray[np.bool_]:
        """Whether meeting the answer is an exposure, shape (n_units,)."""
        return np.array([choice.exposed for choice in self.choices], dtype=bool)[self.codes]

    def _each(self, values: Sequence[str]) -> NDArray[np.object_]:
        return np.array(values, dtype=object)[self.codes]

    def _categories(self, values: Sequence[str]) -> tuple[tuple[str, ...], Codes]:
        names = tuple(dict.fromkeys(values))
        places = np.array([names.index(value) for value in values], dtype=np.int16)
        return names, places[self.codes]


def assign_array(
    ruleset: Ruleset,
    slot: str,
    units: Any,
    attributes: Mapping[str, Any] | None = None,
) -> BulkChoices:
    """The answer of one slot for every unit, without exposures and without pins.

    Parameters
    ----------
    units : sequence of str, length n
        A list, a numpy array or a pandas column. Bytes are read as UTF-8 and columns of an integer
        type as decimals; what is no valid id gets reason INVALID_UNIT, as everywhere.
    attributes : mapping of name to sequence, optional
        Columns of length n.

    Raises
    ------
    InvalidInput
        If `units` has more than one dimension or a column of attributes another length.
    """
    ids = _read(units)
    columns = {name: _values(column) for name, column in (attributes or {}).items()}
    for name, column in columns.items():
        if len(column) != len(ids):
            raise InvalidInput(
                f"Column {name} has {len(column)} values for {len(ids)} units.", field=name
            )
    rules = ruleset.slots.get(slot)
    if rules is None:
        answers = _Answers(len(ids))
        answers.give(unknown_slot(slot, ruleset.version), slice(None))
        return answers.finished()
    return _decide(Evaluator(rules, ruleset.version), ids, columns)


# ---------------------------------------------------------------- deciding


class _Answers:
    """Codes that are filled in rule by rule; equal answers share one code."""

    def __init__(self, count: int) -> None:
        self.codes: Codes = np.full(count, _UNDECIDED, dtype=np.int16)
        self._choices: list[Choice] = []

    @property
    def open(self) -> Places:
        """Rows without an answer."""
        return np.flatnonzero(self.codes == _UNDECIDED)

    def code(self, choice: Choice) -> int:
        """The code of an answer, new or known."""
        if choice not in self._choices:
            self._choices.append(choice)
        return self._choices.index(choice)

    def give(self, choice: Choice, rows: Places | NDArray[np.bool_] | slice) -> None:
        """One answer for some rows."""
        self.codes[rows] = self.code(choice)

    def finished(self) -> BulkChoices:
        """The result, once every row has its answer."""
        return BulkChoices(choices=tuple(self._choices), codes=self.codes)


def _decide(evaluator: Evaluator, ids: _Ids, columns: Mapping[str, list[Any]]) -> BulkChoices:
    """Every rule in the order of evaluation, each over the rows that still have no answer."""
    answers = _Answers(len(ids))
    if evaluator.fixed is not None:
        answers.give(evaluator.fixed, slice(None))
    elif not evaluator.gates and ids.valid.all():
        answers.codes = _split(evaluator, ids, answers)
    else:
        _ask_gates(evaluator, ids.where(ids.valid), np.flatnonzero(ids.valid), answers)
        rows = answers.open[ids.valid[answers.open]]
        answers.codes[rows] = _split(evaluator, ids.where(rows), answers)
    if evaluator.fixed is None and evaluator.eligible is not None:
        _drop_ineligible(evaluator, columns, answers)
    if not ids.valid.all():
        answers.give(evaluator.invalid, ~ids.valid)
    return answers.finished()


def _ask_gates(evaluator: Evaluator, ids: _Ids, rows: Places, answers: _Answers) -> None:
    """Override, holdouts and layer: SHA-256 of each unit under keys of their own."""
    if not evaluator.gates:
        return
    for row, unit in zip(rows.tolist(), ids.listed(), strict=True):
        text = unit.decode()
        for gate in evaluator.gates:
            stopped = gate(text)
            if stopped is not None:
                answers.codes[row] = answers.code(stopped)
                break


def _drop_ineligible(
    evaluator: Evaluator, columns: Mapping[str, list[Any]], answers: _Answers
) -> None:
    """Ask the condition about every row that the split has enrolled."""
    split = [answers.code(choice) for choice in evaluator.choices]
    rows = np.flatnonzero(np.isin(answers.codes, split))
    asked = evaluator.rollout.eligible if evaluator.rollout is not None else None
    named = {name: column for name, column in columns.items() if name in _attributes(asked)}
    places = rows.tolist()
    picked = {name: [column[row] for row in places] for name, column in named.items()}
    eligible = _asked(evaluator, picked, len(rows))
    answers.give(evaluator.not_eligible, rows[~eligible])


def _asked(evaluator: Evaluator, columns: Mapping[str, list[Any]], count: int) -> NDArray[np.bool_]:
    """Whether each row is eligible; rows that agree in what the condition reads are asked once."""
    condition, names = evaluator.eligible, tuple(columns)
    assert condition is not None
    if not names:
        return np.full(count, bool(condition({})))

    def ask(values: tuple[Any, ...]) -> bool:
        return bool(condition(dict(zip(names, values, strict=True))))

    rows = zip(*columns.values(), strict=True)
    if not all(_compares_by_kind(column) for column in columns.values()):
        return np.fromiter(map(ask, rows), dtype=bool, count=count)
    answers: dict[tuple[Any, ...], bool] = {}
    every = list(rows)
    for values in set(every):
        answers[values] = ask(values)
    return np.fromiter(map(answers.__getitem__, every), dtype=bool, count=count)


def _attributes(tree: Any) -> set[str]:
    """Names of the attributes that a condition reads."""
    if isinstance(tree, list):
        return set().union(*map(_attributes, tree))
    if not isinstance(tree, Mapping):
        return set()
    if isinstance(tree.get("attribute"), str):
        return {tree["attribute"]}
    return _attributes(list(tree.values()))


def _compares_by_kind(column: list[Any]) -> bool:
    """Whether equal values are of one kind: True equals 1, and a condition tells them apart."""
    kinds = set(map(type, column))
    return kinds <= {str, int, float, type(None)} or kinds <= {str, bool, type(None)}


def _split(evaluator: Evaluator, ids: _Ids, answers: _Answers) -> Codes:
    """Enrolment and arm of every unit by comparisons of whole columns."""
    outside = answers.code(evaluator.not_enrolled)
    arms = np.array([answers.code(choice) for choice in evaluator.choices], dtype=np.int16)
    below = evaluator.enrolled_below  # four bytes, or more where everybody is enrolled
    everybody, nobody = len(below) > 4, not any(below)
    if nobody or (everybody and len(arms) == 1):
        return np.full(len(ids), outside if nobody else arms[0], dtype=np.int16)
    hi, lo = _hashed(evaluator, ids)
    limits = np.array([int.from_bytes(limit) for limit in evaluator.limits], dtype=np.uint32)
    codes = arms[np.searchsorted(limits, lo, side="right")]
    if not everybody:
        codes[hi >= int.from_bytes(below)] = outside
    return codes


# ---------------------------------------------------------------- hashing


def _hashed(evaluator: Evaluator, ids: _Ids) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """The columns (hi, lo) of every unit under the evaluator's prefix."""
    start = evaluator.prefix
    if evaluator.split_hash is None:
        digests = b"".join([sha256(start + unit).digest() for unit in ids.listed()])
        halves = np.frombuffer(digests, dtype=">u4").reshape(-1, _DIGEST // 4)
        return halves[:, 0].astype(np.uint32), halves[:, 1].astype(np.uint32)
    words = np.empty(len(ids), dtype=np.uint64)
    for rows, same in ids.by_length():
        words[rows] = _xxh3(start, same)
    return (words >> 32).astype(np.uint32), words.astype(np.uint32)


def _xxh3(start: bytes, ids: _Ids) -> Words:
    """XXH3-64 of ids that all have one length."""
    size = int(ids.lengths[0])
    if not SHORTEST_MIDDLE <= len(start) + size <= LONGEST_MIDDLE:
        digests = b"".join([xxh3_digest(start + unit) for unit in ids.listed()])
        return np.frombuffer(digests, dtype=">u8").astype(np.uint64)
    words = np.empty(len(ids), dtype=np.uint64)
    table = np.empty((min(_BLOCK, len(ids)), len(start) + size), dtype=np.uint8)
    table[:, : len(start)] = np.frombuffer(start, dtype=np.uint8)
    windows = sliding_window_view(ids.buffer, size)
    for first in range(0, len(ids), _BLOCK):
        block = table[: min(_BLOCK, len(ids) - first)]
        block[:, len(start) :] = windows[ids.starts[first : first + _BLOCK]]
        words[first : first + _BLOCK] = _xxh3_table(block, len(start))
    return words


def _xxh3_table(keys: Bytes, constant: int) -> Words:
    """XXH3-64 of each row, of which the first `constant` bytes are the same in every row."""

    def word(at: int) -> Words:
        rows = keys[:1] if at + 8 <= constant else keys
        words: Words = np.ascontiguousarray(rows[:, at : at + 8]).view("<u8")[:, 0]
        return words

    hashed: Words = hash_middle(keys.shape[1], word, _fold)
    return hashed


def _fold(one: Words, other: Words) -> Words:
    """`xxh3.fold` over columns: the upper half of the product comes from four of half the width."""
    low, high = one & 0xFFFFFFFF, one >> 32
    other_low, other_high = other & 0xFFFFFFFF, other >> 32
    middle = high * other_low + (low * other_low >> 32)
    cross = low * other_high + (middle & 0xFFFFFFFF)
    upper: Words = high * other_high + (middle >> 32) + (cross >> 32)
    return upper ^ (one * other)


# ---------------------------------------------------------------- reading ids


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ids:
    """Ids as UTF-8 in one buffer: row `i` is ``buffer[starts[i]:starts[i] + lengths[i]]``.

    `separated` says that nothing but one newline lies between neighbours; `valid` follows
    `hashing.check_unit`.
    """

    buffer: Bytes
    starts: Places
    lengths: Places
    valid: NDArray[np.bool_]
    separated: bool = False

    def __len__(self) -> int:
        return len(self.starts)

    def where(self, rows: Places | NDArray[np.bool_]) -> _Ids:
        """Some of the ids."""
        return _Ids(
            buffer=self.buffer,
            starts=self.starts[rows],
            lengths=self.lengths[rows],
            valid=self.valid[rows],
        )

    def listed(self) -> list[bytes]:
        """Each id's bytes."""
        data = self.buffer.tobytes()
        if self.separated:
            return data.split(b"\n")
        ends = (self.starts + self.lengths).tolist()
        return [data[start:end] for start, end in zip(self.starts.tolist(), ends, strict=True)]

    def by_length(self) -> Iterator[tuple[Places | slice, _Ids]]:
        """Rows that share a length, with their ids."""
        if len(self) == 0 or (self.lengths == self.lengths[0]).all():
            if len(self):
                yield slice(None), self
            return
        order = np.argsort(self.lengths.astype(np.uint16), kind="stable")
        cuts = np.flatnonzero(np.diff(self.lengths[order])) + 1
        for rows in np.split(order, cuts):
            yield rows, self.where(rows)


def _read(units: Any) -> _Ids:
    """A column of ids, whatever holds it."""
    if getattr(getattr(units, "dtype", None), "storage", "") == "pyarrow":
        found = _from_arrow(units.array.__arrow_array__())
        if found is not None:
            return found
    column = units.to_numpy() if hasattr(units, "to_numpy") else units
    if not isinstance(column, np.ndarray):
        return _from_list(list(column))
    if column.ndim != 1:
        raise InvalidInput(f"Units are one column, not {column.ndim} dimensions.", field="units")
    if column.dtype.kind in "iu":
        return _from_integers(column)
    if column.dtype.kind in "US" and column.dtype.itemsize and len(column):
        found = _from_fixed(np.ascontiguousarray(column))
        if found is not None:
            return found
    if getattr(getattr(units, "dtype", None), "kind", "") in ("i", "u"):  # pandas, some missing
        return _from_list([str(unit) if isinstance(unit, np.integer) else None for unit in units])
    return _from_list(column.tolist())


def _from_arrow(column: Any) -> _Ids | None:
    """Ids as pandas keeps them with pyarrow, read in place; None where some are no strings."""
    column = column.combine_chunks() if hasattr(column, "chunks") else column
    offset_type = {"string": np.int32, "large_string": np.int64}.get(str(column.type))
    if offset_type is None or column.null_count or len(column) == 0:
        return None
    _, offsets, data = column.buffers()
    cuts = np.frombuffer(offsets, dtype=offset_type)[column.offset :][: len(column) + 1]
    buffer = np.frombuffer(data or b"", dtype=np.uint8)[cuts[0] : cuts[-1]]
    starts = (cuts[:-1] - cuts[0]).astype(np.intp)
    return _checked(buffer, starts, np.diff(cuts).astype(np.intp), np.flatnonzero(buffer < _SPACE))


def _from_list(units: list[Any]) -> _Ids:
    """Ids as Python objects; what cannot be an id is read as the empty one, which is invalid."""
    try:
        joined = "\n".join(units)
    except TypeError:
        units = [_text(unit) for unit in units]
        joined = "\n".join(units)
    buffer = np.frombuffer(joined.encode("utf-8", "surrogatepass"), dtype=np.uint8)
    control = np.flatnonzero(buffer < _SPACE)
    newline = buffer[control] == _NEWLINE
    breaks = control[newline]
    if len(breaks) >= max(1, len(units)):  # a newline inside an id
        return _from_list(["" if "\n" in unit else unit for unit in units])
    starts = np.concatenate([[0], breaks + 1])[: len(units)].astype(np.intp)
    lengths = np.concatenate([breaks, [len(buffer)]])[: len(units)] - starts
    return _checked(buffer, starts, lengths, control[~newline], separated=bool(units))


def _text(unit: object) -> str:
    if isinstance(unit, bytes):
        try:
            return unit.decode()
        except UnicodeDecodeError:
            return ""
    return unit if isinstance(unit, str) else ""


def _from_fixed(column: NDArray[Any]) -> _Ids | None:
    """Ids of a fixed-width column, without a Python object each; None where some are not ASCII."""
    kind = np.dtype(np.uint32 if column.dtype.kind == "U" else np.uint8)
    wide = column.view(kind.newbyteorder(column.dtype.byteorder)).reshape(len(column), -1)
    if wide.max() > 0x7F:
        return None
    table = wide.astype(np.uint8)
    width = table.shape[1]
    ends = np.full(len(column), width, dtype=np.intp)
    short = np.flatnonzero(table[:, -1] == 0)
    if len(short):
        filled = table[short][:, ::-1] != 0
        ends[short] = np.where(filled.any(axis=1), width - filled.argmax(axis=1), 0)
    control = (table < _SPACE) & (np.arange(width) < ends[:, np.newaxis])
    starts = np.arange(len(column)) * width
    return _checked(table.reshape(-1), starts, ends, np.flatnonzero(control))


def _from_integers(column: NDArray[Any]) -> _Ids:
    """Ids as decimals, written from the right into rows of equal width."""
    negative = column < 0
    rest = column.astype(np.uint64)
    rest[negative] = 0 - rest[negative]
    width = len(str(rest.max(initial=0))) + 1
    table = np.empty((len(column), width), dtype=np.uint8)
    lengths = np.ones(len(column), dtype=np.intp)
    for place in range(width - 1, -1, -1):
        upper = rest // 10
        table[:, place] = rest - upper * 10 + ord("0")
        rest = upper
        lengths += rest > 0
    lengths += negative
    starts = np.arange(1, len(column) + 1) * width - lengths
    buffer = table.reshape(-1)
    buffer[starts[negative]] = ord("-")
    return _checked(buffer, starts, lengths, np.empty(0, dtype=np.intp))


def _checked(
    buffer: Bytes, starts: Places, lengths: Places, control: Places, *, separated: bool = False
) -> _Ids:
    """Mark which ids are valid: 1 to 256 bytes, no control characters, no lone surrogates.

    `control` are the places of bytes below 0x20 inside ids, rising.
    """
    valid = (lengths > 0) & (lengths <= MAX_UNIT_BYTES)
    highest = buffer.max(initial=0)
    if highest >= _DELETE:
        bad = buffer == _DELETE
        bad[control] = True
        # U+0080 to U+009F are C2 80 to C2 9F; only surrogates encode to ED A0 and above.
        lead, after = buffer[:-1], buffer[1:]
        bad[:-1] |= ((lead == 0xC2) & (after < 0xA0)) | ((lead == 0xED) & (after >= 0xA0))
        control = np.flatnonzero(bad)
    if len(control):
        first, last = np.searchsorted(control, starts), np.searchsorted(control, starts + lengths)
        valid &= first == last
    return _Ids(buffer=buffer, starts=starts, lengths=lengths, valid=valid, separated=separated)


def _values(column: Any) -> list[Any]:
    """A column of attributes as Python values: conditions do not know numpy's."""
    listed: list[Any] = column.tolist() if hasattr(column, "tolist") else list(column)
    return listed
