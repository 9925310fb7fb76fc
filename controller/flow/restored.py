"""Notice that the database was restored, and publish anew what SDKs would refuse as old.

A restore takes SQL back to an earlier ruleset. SDKs that have seen a later one refuse it (I9), so
the restored state would reach them only with the next change. `controller restore` publishes by
itself; PostgreSQL comes back by its own tools, behind the service's back. What gives it away is the
copy in Redis: one that is newer than the newest in SQL, or has its version and another digest, was
published by a history that this database does not have.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic
from typing import Final, Protocol

from controller.flow.actors import MACHINE
from controller.flow.bootstrap import DEFAULT_PROJECT
from controller.flow.ports.rollouts import PublishedRuleset
from controller.flow.ports.work import Store, Work
from controller.flow.publish import publish

log = logging.getLogger(__name__)

AGAIN_SECONDS: Final = 60.0


class Heads(Protocol):
    """What Redis says of the newest ruleset that went out."""

    def head(self, project: str) -> tuple[int, str] | None: ...


class Claim(Protocol):
    """Whose the namespace in Redis is."""

    def holder(self, deployment: str) -> str: ...


class RestoreWatch:
    """Compares Redis with SQL, project by project.

    A project is published anew at most once a minute: should a second service run on a copy of this
    database and on the same Redis, the two would otherwise outbid each other for ever.
    """

    def __init__(
        self, store: Store, heads: Heads, claim: Claim, clock: Callable[[], float] = monotonic
    ) -> None:
        self._store = store
        self._heads = heads
        self._claim = claim
        self._clock = clock
        self._published: dict[str, float] = {}
        self._complained = -AGAIN_SECONDS

    def step(self) -> bool:
        """Publish anew where SQL is behind what went out; whether it was anywhere.

        Raises
        ------
        Unavailable
            If a store does not answer.
        """
        with self._store.reading() as work:
            deployment = work.deployments.known()
            projects = {DEFAULT_PROJECT, *work.definitions.projects()}
        if deployment is None or not self._is_ours(deployment):
            return False
        followed = [project for project in sorted(projects) if self._follow(project)]
        return bool(followed)

    def _is_ours(self, deployment: str) -> bool:
        holder = self._claim.holder(deployment)
        if holder == deployment:
            return True
        if self._clock() - self._complained >= AGAIN_SECONDS:
            self._complained = self._clock()
            log.error("redis_shared", extra={"deployment": deployment, "holder": holder})
        return False

    def _follow(self, project: str) -> bool:
        if self._clock() - self._published.get(project, -AGAIN_SECONDS) < AGAIN_SECONDS:
            return False
        # Redis is asked first: whatever it holds then was committed before SQL is asked.
        seen = self._heads.head(project)
        if seen is None:
            return False
        with self._store.reading() as work:
            if not _is_behind(work.rulesets.head(project), seen):
                return False
        with self._store.writing() as work:
            work.take_turn(project)
            if not _is_behind(work.rulesets.head(project), seen):
                return False  # another worker was faster
            version, _ = seen
            published = publish_restored(work, project, above=version)
            work.audit.append(
                project,
                at=work.now,
                actor=MACHINE.name,
                action="restore_followed",
                object="ruleset",
                seen=version,
                published=published.version,
            )
        self._published[project] = self._clock()
        log.warning(
            "restore_followed",
            extra={"project": project, "seen": version, "published": published.version},
        )
        return True


def publish_restored(work: Work, project: str, *, above: int = 0) -> PublishedRuleset:
    """Publish a project's ruleset anew from a restored database, and write down that it is one."""
    work.deployments.restored(at=work.now)
    return publish(work, project, above=above)


def _is_behind(head: tuple[int, str] | None, seen: tuple[int, str]) -> bool:
    if head is None:
        return False  # a project that the restored database does not have is served to nobody
    return seen[0] > head[0] or (seen[0] == head[0] and seen[1] != head[1])
