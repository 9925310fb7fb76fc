"""One rollout as its page reads it: the status document, its history and its log, in one snapshot.

Everything a page shows about a rollout (sentence, numbers, pictures, table, buttons) is made from
one `View`, read in one transaction, so that no two parts of a page can disagree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from controller.errors import NotFound
from controller.experiments.metrics import Metric
from controller.experiments.models import Model
from controller.experiments.plans import CHAMPION, Plan
from controller.flow.ports.definitions import StoredSlot
from controller.flow.ports.rollouts import Decision, LookEntry
from controller.flow.ports.work import Work
from controller.flow.status import status_document
from controller.rollout.states import State
from controller.service.ui.series import BAKING_STATES, DECIDING_STATES

MOST_LOOKS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything one page shows of one rollout.

    Attributes
    ----------
    document : mapping
        The status document, as the API answers it.
    plan : Plan or None
        None for a draft.
    looks : sequence of LookEntry
        Of the whole attempt, in order.
    decisions : sequence of Decision
        The log, oldest first.
    earlier : bool
        It shows the evidence of an earlier look (`as_it_was`).
    """

    document: Mapping[str, Any]
    plan: Plan | None
    slot: StoredSlot
    champion: Model
    challengers: tuple[Model, ...]
    looks: Sequence[LookEntry]
    decisions: Sequence[Decision]
    now: datetime
    earlier: bool = False

    @property
    def id(self) -> str:
        """The rollout's id."""
        return str(self.document["metadata"]["uid"])

    @property
    def status(self) -> Mapping[str, Any]:
        """Where it stands."""
        status: Mapping[str, Any] = self.document["status"]
        return status

    @property
    def state(self) -> State:
        """Its state."""
        return State(self.status["state"])

    @property
    def generation(self) -> int:
        """The version that a verb must name."""
        return int(self.document["metadata"]["generation"])

    @property
    def challenger(self) -> str:
        """What the challengers are called that have not been given up."""
        weights = (self.status["allocation"] or {}).get("weights", {})
        left = [model for arm, model in self._arms.items() if arm != CHAMPION and weights.get(arm)]
        return " and ".join(model.label for model in left or self.challengers)

    @property
    def _arms(self) -> Mapping[str, Model]:
        return {} if self.plan is None else self.plan.arms

    @property
    def proposal(self) -> Mapping[str, Any] | None:
        """The open proposal's document."""
        return next((one for one in self.status["approvals"] if one["state"] == "open"), None)

    @property
    def oec(self) -> str | None:
        """Key of the metric that decides."""
        slot = self.plan.slot if self.plan else self.slot.slot
        return slot.oec.metric if slot.oec else None

    @property
    def compared_in(self) -> frozenset[str]:
        """The states whose looks belong to the present comparison; empty during the A/A check."""
        newest = self.looks[-1].summary["state"] if self.looks else ""
        return next((one for one in (DECIDING_STATES, BAKING_STATES) if newest in one), frozenset())

    @property
    def watched(self) -> bool:
        """The newest look belongs to the watch after a promotion."""
        return self.compared_in == BAKING_STATES

    @property
    def over(self) -> bool:
        """Nothing will be added to what it shows: its rollout has ended."""
        return self.state.terminal and not self.earlier

    def metric(self, key: str) -> Metric | None:
        """A metric's definition, as the plan froze it."""
        return self.plan.metrics.get(key) if self.plan else None


def as_it_was(work: Work, view: View, sha256: str | None) -> View | None:
    """The same rollout with the evidence of an earlier look and the history until then."""
    evidence = work.evidence.get(view.document["metadata"]["project"], sha256) if sha256 else None
    if evidence is None:
        return None
    status = {**view.status, "metrics": evidence["metrics"]}
    looks = [one for one in view.looks if one.number <= evidence["number"]]
    document = {**view.document, "status": status}
    return replace(view, document=document, looks=looks, earlier=True)


def promoted_on(decisions: Sequence[Decision]) -> str | None:
    """Digest of the evidence that the newest promotion rests on."""
    found = [one.document.get("evidence") for one in decisions if one.action == "promote"]
    return found[-1] if found else None


def read_view(work: Work, project: str, rollout_id: str, *, most: int = MOST_LOOKS) -> View:
    """Read everything about one rollout in the caller's transaction.

    Parameters
    ----------
    most : int
        Looks to read; more are thinned evenly.

    Raises
    ------
    NotFound
        If there is no such rollout.
    """
    rollout = work.rollouts.get(project, rollout_id)
    slot = work.definitions.slot(project, rollout.slot) if rollout else None
    if rollout is None or slot is None:
        raise NotFound(f"There is no rollout {rollout_id!r:.80}.")
    plan = rollout.plan
    return View(
        document=status_document(work, project, rollout_id),
        plan=plan,
        slot=slot,
        champion=slot.slot.champion if plan is None else plan.arms[CHAMPION],
        challengers=rollout.draft.challengers,
        looks=work.evidence.looks(project, rollout_id, most=most),
        decisions=work.decisions.since(project, rollout_id),
        now=work.now,
    )
