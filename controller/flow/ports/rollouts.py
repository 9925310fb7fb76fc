"""Where rollouts, rulesets, evidence, approvals and decisions are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from controller.aggregation.statistics import Epoch
from controller.rollout.record import Allocation, Rollout


class Rollouts(Protocol):
    """Rollouts with their allocations and epochs."""

    def get(self, project: str, rollout: str) -> Rollout | None: ...
    def live_in(self, project: str, slot: str) -> Rollout | None:
        """The one rollout that occupies the slot, or None."""
        ...

    def live(self, project: str | None = None) -> Sequence[Rollout]:
        """Every rollout that is neither a draft nor terminal, oldest first."""
        ...

    def in_slot(self, project: str, slot: str) -> Sequence[Rollout]:
        """Newest first."""
        ...

    def add(self, rollout: Rollout) -> None: ...
    def save(self, rollout: Rollout) -> Rollout:
        """Write if the stored generation is `rollout.generation`; return it with generation + 1.

        Raises
        ------
        StaleVersion
            If somebody else wrote first.
        """
        ...

    def save_look(self, rollout: Rollout, *, news: bool, taken: bool = True) -> Rollout:
        """Write what the next look saw and concluded.

        Parameters
        ----------
        rollout : Rollout
            With the new look's number, one above the stored one; the same if none was taken.
        news : bool
            Whether the verdict or its reason changed: only then does the generation rise, because
            only then did what people decide on change.
        taken : bool
            False where nothing new was seen and the last look was only affirmed.

        Raises
        ------
        StaleVersion
            If somebody changed the rollout, or looked, since it was read.
        """
        ...

    def add_allocation(self, project: str, rollout: str, allocation: Allocation) -> None: ...
    def allocations(self, project: str, rollout: str) -> Sequence[Allocation]: ...
    def add_epoch(
        self, project: str, rollout: str, epoch: Epoch, *, ruleset: int, at: datetime
    ) -> None: ...
    def epochs(self, project: str, rollout: str) -> Sequence[Epoch]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRuleset:
    """One ruleset as it went out."""

    project: str
    version: int
    sha256: str
    body: bytes
    created_at: datetime


class Rulesets(Protocol):
    """The truth of what SDKs are told."""

    def newest(self, project: str) -> PublishedRuleset | None: ...
    def newest_version(self, project: str) -> int: ...
    def head(self, project: str) -> tuple[int, str] | None:
        """Version and sha256 of the newest."""
        ...

    def projects(self) -> Sequence[str]:
        """Every project that has published one."""
        ...

    def add(self, ruleset: PublishedRuleset) -> None: ...
    def drop_bodies(self, *, before: datetime, most: int) -> int:
        """Empty up to `most` bodies published before an instant; how many it were.

        The newest of a project and those that opened an epoch keep theirs, every version and digest
        stays.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LookEntry:
    """One look in a rollout's history, with what its chart needs."""

    number: int
    evidence_sha256: str
    taken_at: datetime
    summary: Mapping[str, Any]


class Evidence(Protocol):
    """Immutable documents named by their sha256, and the looks that made them."""

    def put(self, project: str, rollout: str, document: Mapping[str, Any], *, at: datetime) -> str:
        """Store and return the sha256; the same document is stored once."""
        ...

    def get(self, project: str, sha256: str) -> Mapping[str, Any] | None: ...
    def add_look(self, project: str, rollout: str, look: LookEntry) -> None: ...
    def looks(self, project: str, rollout: str, *, most: int = 500) -> Sequence[LookEntry]:
        """In order of number; thinned evenly where there are more than `most`."""
        ...

    def looks_after(
        self, project: str, rollout: str, *, after: int, most: int
    ) -> Sequence[LookEntry]:
        """The next `most` after a number, in order, none left out."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """One person's answer to one proposal."""

    voter: str
    vote: str
    digest: str
    comment: str
    channel: str
    method: str
    voted_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """One transition put before people. `document` is what its digest was computed over."""

    project: str
    id: str
    rollout: str
    gate: str
    transition: str
    digest: str
    document: Mapping[str, Any]
    status: str = "open"
    reason: str | None = None
    opened_at: datetime
    expires_at: datetime
    closed_at: datetime | None = None
    votes: tuple[Vote, ...] = ()


class Approvals(Protocol):
    """Proposals and the votes on them."""

    def get(self, project: str, proposal: str) -> Proposal | None: ...
    def open_for(self, project: str, rollout: str) -> Proposal | None: ...
    def list(
        self, project: str, *, status: str | None = None, rollout: str | None = None
    ) -> Sequence[Proposal]:
        """Newest first."""
        ...

    def add(self, proposal: Proposal) -> None: ...
    def add_vote(self, project: str, proposal: str, vote: Vote) -> None: ...
    def close(
        self, project: str, proposal: str, *, status: str, reason: str | None, at: datetime
    ) -> bool:
        """Close an open proposal; False where it was closed already (consumed once, I7)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One step of a rollout's life."""

    seq: int
    at: datetime
    actor: str
    action: str
    from_state: str | None
    to_state: str | None
    document: Mapping[str, Any]


class Decisions(Protocol):
    """The gap-free log of a rollout: what `events` and `watch` replay."""

    def add(
        self,
        project: str,
        rollout: str,
        *,
        at: datetime,
        actor: str,
        action: str,
        from_state: str | None = None,
        to_state: str | None = None,
        document: Mapping[str, Any],
    ) -> int:
        """Append and return the sequence number, from 1 without gaps."""
        ...

    def since(self, project: str, rollout: str, after: int = 0) -> Sequence[Decision]: ...
    def last(self, project: str, rollout: str) -> Decision | None:
        """The newest entry, or None."""
        ...
