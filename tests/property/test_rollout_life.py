"""A rollout under whatever people, data and time do to it (I4, I6, I7, I13).

Hypothesis plays everybody at once: the requester, approvers, an operator in a hurry, data that are
good, bad, silent or broken, a clock that jumps. After every step the same few things must be true.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from controller.assignment.runs import living, moves
from controller.errors import ControllerError
from controller.flow.kill import kill, lift
from controller.flow.ports.rollouts import Decision
from controller.rollout.machine import TRANSITIONS, legal_verbs
from controller.rollout.record import Allocation, Rollout
from controller.rollout.shares import shares_of
from controller.rollout.states import EXPOSED, TERMINAL, State, Verb, Verdict
from tests.unit.flow.desk import CHALLENGER, PROJECT, SLOT, STEPS, Desk

RAISING = [verb for verb in Verb if verb.raises_exposure and verb is not Verb.RETRY]
ENTITLED = {"ben", "cleo"}
"""Approvers without an interest: ada asked, mira is an author, root and vic lack the role."""

MOVES = {(source.value, row.target.value) for row in TRANSITIONS for source in row.sources}
RIVAL = {"name": "forest", "version": "2"}
CONDITIONS: dict[str, Any] = {
    "lift": None,
    "north": {"attribute": "region", "op": "eq", "value": "north"},
    "young": {"attribute": "age", "op": "lt", "value": 30},
}
KINDS: dict[str, tuple[tuple[int, float, int, float], tuple[int, float, int, float]]] = {
    "even": ((400, 0.5, 400, 0.5), (400, 0.02, 400, 0.02)),
    "better": ((2000, 0.5, 2000, 0.6), (2000, 0.02, 2000, 0.02)),
    "worse": ((2000, 0.6, 2000, 0.5), (2000, 0.02, 2000, 0.02)),
    "harmful": ((2000, 0.5, 2000, 0.6), (2000, 0.02, 2000, 0.2)),
    "lopsided": ((900, 0.5, 100, 0.5), (900, 0.02, 100, 0.02)),
    "fading": ((2600, 0.58, 2600, 0.57), (2600, 0.02, 2600, 0.02)),
}


class Life(RuleBasedStateMachine):
    """One rollout of one slot."""

    @initialize(
        autonomy=st.sampled_from(["L0", "L1", "L2", "L3"]),
        aa=st.booleans(),
        gated=st.booleans(),
        rivals=st.booleans(),
        days=st.integers(0, 4),
    )
    def begin(self, autonomy: str, aa: bool, gated: bool, rivals: bool, days: int) -> None:
        approvals: dict[str, Any] = {"promote": {"quorum": 2, "expires": "1d"}}
        if gated:
            approvals["start"] = {"quorum": 1}
        policy: dict[str, Any] = {"autonomy": autonomy, "approvals": approvals, "ramp": STEPS}
        policy["bake"] = {"duration": "2h"}
        if aa:
            policy["aa"] = {"min_units": 100}
        self.desk = Desk(policy)
        models = [CHALLENGER, RIVAL] if rivals else [CHALLENGER]
        self.rollout = self.desk.create(challengers=models)
        for _ in range(days):
            self.a_good_day("better")

    def now(self) -> Rollout:
        return self.desk.get(self.rollout)

    def allocations(self) -> Sequence[Allocation]:
        with self.desk.store.reading() as work:
            return work.rollouts.allocations(PROJECT, self.rollout.id)

    # ------------------------------------------------------------ what everybody does

    @rule(verb=st.sampled_from(RAISING), by=st.sampled_from(["ada", "ben", "vic"]))
    def ask(self, verb: Verb, by: str) -> None:
        self._try(verb, by)

    @rule(verb=st.sampled_from(RAISING))
    def ask_blindly(self, verb: Verb) -> None:
        before = self.now()
        self._try(verb, "ada", if_match=before.generation + 1)
        assert self.now() == before, "an unread version changes nothing"

    @rule(by=st.sampled_from(["ada", "ben", "cleo", "mira", "root"]), reject=st.integers(0, 9))
    def vote(self, by: str, reject: int) -> None:
        proposal = self.desk.open_proposal(self.rollout)
        if proposal is None:
            return
        with suppress(ControllerError):
            self.desk.vote(proposal, by, "approve" if reject else "reject")

    @rule(kind=st.sampled_from(sorted(KINDS)))
    def data(self, kind: str) -> None:
        now = self.now()
        epoch, baking = max(1, now.epoch), now.state in (State.PROMOTING, State.BAKING)
        allocation = self.allocations()[-1:]
        arms = [arm for one in allocation for arm in one.weights if arm != "champion"]
        for metric, numbers in zip(("on-time", "complaints"), KINDS[kind], strict=True):
            n0, p0, n1, p1 = numbers
            held_back = n1 // 49 if baking else n0
            # Only the first challenger is what the day is about; a rival does like the champion.
            seen = {arm: (n1, p0 if arm == "challenger-2" else p1) for arm in arms}
            self.desk.see(metric, epoch=epoch, champion=(held_back, p0), **seen)

    @rule(
        keeps=st.sampled_from([0.1, 0.3, 0.5, 0.9]),
        loser=st.sampled_from(["", "challenger-1", "challenger-2"]),
        eligible=st.sampled_from([None, "lift", "north", "young"]),
        by=st.sampled_from(["ada", "vic"]),
    )
    def edit(self, keeps: float, loser: str, eligible: str | None, by: str) -> None:
        """Any edit, sensible or not."""
        now = self.now()
        if now.plan is None:
            return
        gone = self.allocations()[-1].dropped if self.allocations() else {}
        rivals = [arm for arm in now.plan.challengers if arm not in gone]
        left = [arm for arm in rivals if arm != loser] or rivals
        weights = {arm: (1.0 - keeps) / len(left) * (arm in left) for arm in rivals}
        edits: dict[str, Any] = {"weights": {"champion": keeps, **weights}}
        if eligible is not None:
            edits["eligible"] = CONDITIONS[eligible]
        self._try(Verb.EDIT, by, edits=edits)

    @rule(minutes=st.sampled_from([1, 5, 61, 24 * 60, 11 * 24 * 60]), fresh=st.booleans())
    def time(self, minutes: int, fresh: bool) -> None:
        self.desk.later(minutes=minutes)
        if fresh and self.desk.last_outcome is not None:
            self.desk.last_outcome = self.desk.now

    @rule(sent=st.booleans())
    def work(self, sent: bool) -> None:
        self.desk.tick(sent=sent)

    @rule(off=st.booleans())
    def switch(self, off: bool) -> None:
        ben = self.desk.person("ben")
        if off:
            kill(self.desk.store, PROJECT, SLOT, actor=ben)
        else:
            lift(self.desk.store, PROJECT, SLOT, actor=ben)

    @rule()
    def pause(self) -> None:
        self._try(Verb.PAUSE, "cleo")

    @precondition(lambda self: self.now().state in EXPOSED)
    @rule(verb=st.sampled_from([Verb.ROLLBACK, Verb.ABORT]), chance=st.integers(0, 3))
    def retreat(self, verb: Verb, chance: int) -> None:
        if chance:
            return
        after = self.desk.do(self.rollout, verb, by="cleo")
        assert after.state is State.ROLLING_BACK
        assert after.enrolled_ppm == 0
        assert self.desk.open_proposal(self.rollout) is None

    @precondition(lambda self: self.now().state is State.PROMOTED)
    @rule(by=st.sampled_from(["ada", "vic"]))
    def undo(self, by: str) -> None:
        self._try(Verb.UNDO, by)

    def _try(self, verb: Verb, by: str, **options: Any) -> None:
        with suppress(ControllerError):
            self.desk.do(self.rollout, verb, by=by, **options)

    @precondition(lambda self: self.now().state not in TERMINAL)
    @rule(kind=st.sampled_from(["better", "better", "even"]))
    def a_good_day(self, kind: str) -> None:
        """Everybody does what they should: this is how the late states are reached."""
        lift(self.desk.store, PROJECT, SLOT, actor=self.desk.person("ben"))
        for verb in (Verb.SUBMIT, Verb.START, Verb.RESUME, Verb.ADVANCE):
            self._try(verb, "ada")
        self.data(kind)
        self.desk.exposed = {(1, "champion"): 60, (1, "challenger"): 60}
        self.desk.ticks(3, hours=1)
        for name in sorted(ENTITLED):
            self.vote(name, 1)
        self.desk.ticks(2)

    # ------------------------------------------------------------ what is always true

    @invariant()
    def the_log_is_gap_free_and_every_move_is_in_the_table(self) -> None:
        log = self._log()
        assert [entry.seq for entry in log] == list(range(1, len(log) + 1))
        moved = {
            (entry.from_state, entry.to_state)
            for entry in log
            if entry.from_state is not None and entry.from_state != entry.to_state
        }
        assert moved <= MOVES

    @invariant()
    def exposure_never_rose_out_of_turn_or_while_it_was_held(self) -> None:
        held: set[str] = set()
        for entry in self._log():
            if entry.action in ("pause", "resume"):
                held = set(entry.document["paused"])
            was, becomes = entry.document.get("enrolled", (0, 0))
            # Lifting a kill goes back to what the moves before it had allowed, paused or not.
            if becomes > was and entry.action != "kill_lifted":
                assert not held
                assert entry.from_state in ("Validating", "AACheck", "Ramping", "Deciding")
                assert entry.action in ("check", "start", "advance", "promote")

    def _log(self) -> Sequence[Decision]:
        with self.desk.store.reading() as work:
            return work.decisions.since(PROJECT, self.rollout.id)

    @invariant()
    def the_share_is_what_the_state_allows(self) -> None:
        now = self.now()
        ramp = [100_000, 1_000_000]
        if now.state in (State.RAMPING, State.DECIDING, State.AA_CHECK):
            assert now.enrolled_ppm == ramp[now.stage]
        elif now.state in (State.PROMOTING, State.BAKING):
            assert now.enrolled_ppm == 1_000_000
        else:
            assert now.enrolled_ppm == 0

    @invariant()
    def what_is_published_is_what_is_stored(self) -> None:
        now = self.now()
        rules = self.desk.ruleset().slots[SLOT].rollout
        published = 0 if rules is None else rules.enrolled_ppm
        assert published == now.enrolled_ppm

    @invariant()
    def a_promotion_stands_on_two_entitled_approvals_used_once(self) -> None:
        now = self.now()
        proposals = self.desk.proposals(self.rollout)
        executed = [one for one in proposals if one.status == "executed"]
        used = Counter(
            (one.transition, one.document["content"]["from"]["stage"]) for one in executed
        )
        assert all(count == 1 for count in used.values())
        assert sum(one.status == "open" for one in proposals) <= 1
        if now.state in (State.PROMOTING, State.BAKING, State.PROMOTED):
            promotion = next(one for one in executed if one.transition == "promote")
            votes = {vote.voter: vote.vote for vote in promotion.votes}
            assert "reject" not in votes.values()
            assert {name for name, vote in votes.items() if vote == "approve"} >= ENTITLED
            assert promotion.document["verdict"] == Verdict.PROMOTE.value

    @invariant()
    def an_edit_moves_nobody_and_gives_nothing_back(self) -> None:
        for one, two in pairwise(self.allocations()):
            if one.runs != two.runs or one.analysed != two.analysed:
                continue  # the A/A check and the watch after a promotion stand for themselves
            assert moves(living(one.runs, one.retired), living(two.runs, two.retired)) == []
            assert dict(one.dropped).items() <= dict(two.dropped).items()
            assert not set(two.dropped) & set(two.weights)
            assert len(two.weights) >= 2

    @invariant()
    def the_champion_changes_only_when_promoted(self) -> None:
        promoted = self.now().state is State.PROMOTED
        assert self.desk.champion() == ("trees 7" if promoted else "logit 1")

    @invariant()
    def every_living_state_has_a_deadline_and_an_end(self) -> None:
        now = self.now()
        assert (now.deadline_at is not None) == now.state.live
        assert (now.ended_at is not None) == now.state.terminal
        if now.state.live:
            assert Verb.ROLLBACK in legal_verbs(now.state)

    @invariant()
    def the_status_document_agrees(self) -> None:
        now = self.now()
        status = self.desk.status(self.rollout)["status"]
        with self.desk.store.reading() as work:
            allocations = work.rollouts.allocations(PROJECT, self.rollout.id)
            stored = work.definitions.slot(PROJECT, SLOT)
        current = next((one for one in allocations if one.number == now.allocation), None)
        assert stored is not None
        shares = shares_of(now, current, killed=stored.kill is not None)
        assert status["state"] == now.state.value
        assert status["challenger_share"] == shares.challenger
        assert status["sentence"]

    def teardown(self) -> None:
        if hasattr(self, "desk"):
            assert self.desk.audit().intact


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=15,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
