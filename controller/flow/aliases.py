"""Merged identities: state that two ids are one, and count them as one everywhere."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from controller.assignment.hashing import check_unit
from controller.errors import AliasConflict, ControllerError, InvalidInput
from controller.experiments.document import check_key
from controller.flow.merging import merge_units
from controller.flow.ports.identities import Alias, Aliases
from controller.flow.ports.ingest import IngestStore
from controller.flow.ports.work import Store

MOST_IDS: Final = 100
"""Ids of one identity. An id that thousands of people share ("undefined", a kiosk) merges them all
into one unit; the limit stops that early."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """`alias` (say, an anonymous id) and `unit` (say, an account) are one unit."""

    unit_type: str
    unit: str
    alias: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What became of statements: new, known to be so, or refused and why, by place."""

    accepted: int
    duplicates: int
    rejected: Mapping[int, ControllerError]


def state_alias(store: Store, project: str, statement: Statement, *, actor: str) -> Stated:
    """Commit that two ids are one; the worker makes it count within a second.

    Saying again what holds already changes nothing; an alias of an alias ends at the same unit.

    Raises
    ------
    InvalidInput
        If an id cannot be hashed, or is called its own alias.
    AliasConflict
        If the alias already belongs to another unit, the two would stand for each other in a
        circle, or the identity would have more than 100 ids.
    Unavailable
        If the database does not answer; nothing was accepted.
    """
    stated = state_aliases(store, project, [statement], actor=actor)
    for problem in stated.rejected.values():
        raise problem
    return stated


def state_aliases(
    store: Store, project: str, statements: Sequence[Statement], *, actor: str
) -> Stated:
    """`state_alias` for many, in one commit; those that are refused hold no other up.

    Raises
    ------
    Unavailable
        If the database does not answer; nothing was accepted.
    """
    rejected: dict[int, ControllerError] = {}
    by_type: dict[str, list[tuple[int, Statement]]] = defaultdict(list)
    for place, one in enumerate(statements):
        try:
            by_type[_checked(one).unit_type].append((place, one))
        except InvalidInput as problem:
            rejected[place] = problem
    accepted = 0
    with store.writing() as work:
        work.aliases.take_turn(project)
        for unit_type, mine in sorted(by_type.items()):
            book = _Book(work.aliases, project, unit_type, [one for _, one in mine])
            for place, one in mine:
                try:
                    book.state(one)
                except AliasConflict as problem:
                    rejected[place] = problem
            accepted += book.store(actor)
    known = len(statements) - accepted - len(rejected)
    return Stated(accepted=accepted, duplicates=known, rejected=rejected)


def apply_aliases(store: IngestStore, *, most: int = 200) -> bool:
    """Make stated aliases count, in every rollout whose numbers still change; whether more wait.

    One transaction that no other ingest transaction overlaps: an exposure is either aggregated
    before, and its unit is merged here, or after, and finds the identity.

    Raises
    ------
    Unavailable
        If the database does not answer; nothing happened.
    """
    with store.reading() as work:
        if not work.identities.waiting(1):
            return False
    with store.maturing() as work:
        waiting = work.identities.waiting(most)
        grown = work.identities.unite(waiting, at_us=work.now_us)
        for (project, unit_type), units in sorted(grown.items()):
            groups = work.identities.groups(project, unit_type, units)
            for target in work.targets.targets(project):
                if target.unit_type == unit_type:
                    merge_units(work, target, groups)
    return len(waiting) == most


def _checked(one: Statement) -> Statement:
    check_key(one.unit_type, "unit_type")
    for name, unit in (("unit", one.unit), ("alias", one.alias)):
        try:
            check_unit(unit)
        except InvalidInput as problem:
            raise InvalidInput(problem.message, field=name) from problem
    if one.unit == one.alias:
        raise InvalidInput("A unit is not its own alias.", field="alias")
    return one


class _Book:
    """What is stated of the ids of one batch and unit type, with what the batch adds."""

    def __init__(
        self, aliases: Aliases, project: str, unit_type: str, statements: Sequence[Statement]
    ) -> None:
        self._aliases = aliases
        self._name = (project, unit_type)
        ids = {unit for one in statements for unit in (one.alias, one.unit)}
        known = aliases.known(project, unit_type, sorted(ids))
        self._roots = {unit: known[unit].root for unit in known}
        ends = {self._roots.get(unit, unit) for unit in ids}
        self._sizes = dict(aliases.sizes(project, unit_type, ends))
        self._ended_at = frozenset(self._sizes)
        self._moved: dict[str, str] = {}
        self._new: list[tuple[str, str]] = []

    def state(self, one: Statement) -> None:
        """Take one statement in, unless it holds already."""
        root = self._root(one.unit)
        if one.alias in self._roots:
            if self._root(one.alias) == root:
                return
            raise AliasConflict(
                "This alias already belongs to another unit; aliases are not moved.", rule="moved"
            )
        if root == one.alias:
            raise AliasConflict(
                "The unit already stands for this alias: the two would form a circle.",
                rule="circle",
            )
        ids = self._sizes.get(root, 1) + self._sizes.get(one.alias, 1)
        if ids > MOST_IDS:
            raise AliasConflict(
                f"One unit has at most {MOST_IDS} ids; is one of them shared by many?",
                rule="too_many",
            )
        self._sizes[root] = ids
        self._moved[one.alias] = self._roots[one.alias] = root
        self._new.append((one.alias, one.unit))

    def store(self, actor: str) -> int:
        """Write what is new; how many statements that are."""
        facts = [Alias(*self._name, alias, unit, self._root(alias)) for alias, unit in self._new]
        moved = {old: self._root(old) for old in self._moved if old in self._ended_at}
        self._aliases.add(facts, moved=moved, actor=actor)
        return len(facts)

    def _root(self, unit: str) -> str:
        """Where the chain of an id ends now."""
        end = self._roots.get(unit, unit)
        while end in self._moved:
            end = self._moved[end]
        return end
