"""Which arm a unit gets: a pure function of ruleset, unit, attributes and pin.

The order is fixed and every answer carries its reason: kill, override, holdout, layer, pin (which
supplies bucket and arm and skips eligibility), enrolment, eligibility, arm. A slot at rest answers
its champion and observes a share of its units.

Per slot the rules are compiled once. Each possible answer exists once as a shared `Choice`, and the
integer tests of `hashing` become comparisons of bytes: ``bucket(hi, 1_000_000) < enrolled_ppm`` is
``digest[0:4] < threshold`` in big-endian order.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import Any, Final

from controller.assignment.choice import CHAMPION, Choice, Model, Pin, Reason
from controller.assignment.conditions import Condition, compile_condition, never
from controller.assignment.digest import sha256
from controller.assignment.hashing import (
    BUCKETS,
    MAX_UNIT_BYTES,
    PPM,
    SHA256,
    bucket,
    hash_unit,
    hasher,
    keyed_hash,
    prefix,
    threshold,
    valid_unit,
)
from controller.assignment.ruleset import Layer, RolloutRules, Ruleset, Share, SlotRules
from controller.assignment.runs import living
from controller.errors import InvalidInput

_NO_ATTRIBUTES: Final[Mapping[str, Any]] = {}
_EVERY: Final = b"\xff" * 33  # greater than any 32-byte digest

Gate = Callable[[str], Choice | None]


def evaluate(
    ruleset: Ruleset,
    slot: str,
    unit: str,
    attributes: Mapping[str, Any] | None = None,
    pin: Pin | None = None,
) -> Choice:
    """The answer of one slot for one unit. Never raises, whatever the unit."""
    evaluator = ruleset.evaluators.get(slot)
    if evaluator is None:
        rules = ruleset.slots.get(slot)
        if rules is None:
            return unknown_slot(slot, ruleset.version)
        evaluator = ruleset.evaluators.setdefault(slot, Evaluator(rules, ruleset.version))
    return evaluator.evaluate(unit, attributes, pin)


def unknown_slot(slot: str, version: int) -> Choice:
    """The answer for a slot that the ruleset does not name."""
    return Choice(
        slot=slot,
        arm=CHAMPION,
        model=None,
        payload=None,
        reason=Reason.UNKNOWN_SLOT,
        rollout=None,
        allocation=None,
        ruleset=version,
    )


class Evaluator:
    """One slot's rules, compiled. Immutable and safe to share between threads.

    Attributes
    ----------
    fixed : Choice or None
        The answer for every unit: killed, or rules that cannot be evaluated.
    invalid, not_enrolled, not_eligible : Choice
        The answers that need no arm. A kill reaches what is no unit, too.
    gates : tuple of callable
        Override, holdouts, layer: each gives an answer or passes the unit on.
    prefix : bytes
        What is hashed before the unit.
    split_hash : callable or None
        From those bytes to the digest that splits; None is SHA-256, called without a detour.
    enrolled_below : bytes
        A digest below it is enrolled (or, at rest, observed).
    eligible : callable or None
        The compiled condition.
    pinned_in : tuple of int
        Allocations whose pins count: the present one, and those before another condition.
    limits, choices : list of bytes and tuple of Choice
        The answer of the arm: bytes 4-7 of the digest are looked up by bisection.
    """

    __slots__ = (
        "_observed",
        "_pinned",
        "_rest",
        "allocation",
        "choices",
        "eligible",
        "enrolled_below",
        "fixed",
        "gates",
        "invalid",
        "limits",
        "not_eligible",
        "not_enrolled",
        "pinned_in",
        "prefix",
        "rollout",
        "rules",
        "split_hash",
        "version",
    )

    def __init__(self, rules: SlotRules, version: int) -> None:
        self.rules: Final = rules
        self.version: Final = version
        self.rollout: Final = rules.rollout
        self.allocation: Final = rules.rollout.allocation if rules.rollout else None
        kept = rules.rollout.keeps if rules.rollout else ()
        self.pinned_in: Final[tuple[int | None, ...]] = (self.allocation, *kept)
        self._rest = self._champion(Reason.NO_ROLLOUT)
        self._observed = self._champion(Reason.NO_ROLLOUT, exposed=True)
        self.not_enrolled = self._champion(Reason.NOT_ENROLLED)
        self.not_eligible = self._champion(Reason.NOT_ELIGIBLE)
        self.fixed = self._fixed_answer()
        self.invalid = self.fixed or self._champion(Reason.INVALID_UNIT)
        self.gates: tuple[Gate, ...] = ()
        self.eligible: Condition | None = None
        self.split_hash: Callable[[bytes], bytes] | None = None
        self._pinned: dict[str, Choice] = {}
        if rules.rollout is not None and self.fixed is None:
            self._compile_rollout(rules.rollout)
        else:
            self._compile_rest(rules.observe)

    def evaluate(
        self,
        unit: str,
        attributes: Mapping[str, Any] | None = None,
        pin: Pin | None = None,
    ) -> Choice:
        """See `evaluate`: kill, override, holdout, layer, pin, enrolment, eligibility, arm."""
        try:
            # `valid_unit`, unfolded for the common case: printable ASCII of bounded length.
            plain = unit.isascii() and unit.isprintable() and 0 < len(unit) <= MAX_UNIT_BYTES
            if not plain and not valid_unit(unit):
                return self.invalid
        except AttributeError:
            return self.invalid
        if self.fixed is not None:
            return self.fixed
        for gate in self.gates:
            stopped = gate(unit)
            if stopped is not None:
                return stopped
        if pin is not None and pin.allocation in self.pinned_in:
            return self._from_pin(pin, unit)
        message = self.prefix + unit.encode()
        digest = sha256(message).digest() if self.split_hash is None else self.split_hash(message)
        if digest >= self.enrolled_below:
            return self.not_enrolled
        if self.eligible is not None and not self.eligible(attributes or _NO_ATTRIBUTES):
            return self.not_eligible
        return self.choices[bisect_right(self.limits, digest[4:8])]

    def pin_for(self, unit: str, choice: Choice) -> Pin | None:
        """The pin that remembers this choice of this unit; None where there is nothing to keep."""
        if choice.reason is not Reason.SPLIT or self.rollout is None:
            return None
        rollout = self.rollout
        hi, _ = hash_unit(rollout.salt, self.rules.unit_type, unit, algo=rollout.algo)
        return Pin(allocation=self.rollout.allocation, arm=choice.arm, bucket=bucket(hi, PPM))

    def reaches_pin(self, unit: str) -> bool:
        """Whether this unit's answer can depend on a pin: no kill, override, holdout or layer."""
        return (
            self.rollout is not None
            and self.fixed is None
            and valid_unit(unit)
            and all(gate(unit) is None for gate in self.gates)
        )

    # ------------------------------------------------------------ compiling

    def _compile_rollout(self, rollout: RolloutRules) -> None:
        rules = self.rules
        self.prefix = prefix(rollout.salt, rules.unit_type)
        self.split_hash = None if rollout.algo == SHA256 else hasher(rollout.algo)
        self.enrolled_below = _below(rollout.enrolled_ppm, PPM)
        runs = living(rollout.runs, rollout.retired)
        self.limits = [_below(end, BUCKETS) for end, _ in runs[:-1]]
        self.choices = tuple(self._arm(arm, Reason.SPLIT) for _, arm in runs)
        self._pinned = {arm: self._arm(arm, Reason.PINNED) for arm in rollout.arms}
        self.eligible = _compiled(rollout.eligible)
        gates: list[Gate] = []
        if rules.overrides is not None and rules.overrides.arms:
            gates.append(self._override_gate(rules.overrides.key, rules.overrides.arms))
        gates += [self._holdout_gate(share) for share in rules.holdouts]
        if rules.layer is not None:
            gates.append(self._layer_gate(rules.layer))
        self.gates = tuple(gates)

    def _compile_rest(self, observe: Share | None) -> None:
        """A slot at rest: the observed share is logged, the others are only answered."""
        share = observe if observe is not None and self.fixed is None else Share(salt="-", ppm=0)
        self.prefix = prefix(share.salt, self.rules.unit_type)
        self.enrolled_below = _below(share.ppm, PPM)
        self.not_enrolled = self._rest
        self.limits, self.choices = [], (self._observed,)

    def _fixed_answer(self) -> Choice | None:
        kill = self.rules.kill
        if kill is not None:
            return self._answer(CHAMPION, kill.model, Reason.KILLED)
        return self._champion(Reason.ERROR) if self.rules.unreadable is not None else None

    # ------------------------------------------------------------ gates

    def _override_gate(self, key: str, arms: Mapping[str, str]) -> Gate:
        unit_type = self.rules.unit_type
        choices = {name: self._arm(arm, Reason.OVERRIDE) for name, arm in arms.items()}
        return lambda unit: choices.get(keyed_hash(key, unit_type, unit))

    def _holdout_gate(self, share: Share) -> Gate:
        start, below = prefix(share.salt, self.rules.unit_type), _below(share.ppm, PPM)
        held = self._champion(Reason.HOLDOUT)
        return lambda unit: held if sha256(start + unit.encode()).digest() < below else None

    def _layer_gate(self, layer: Layer) -> Gate:
        unit_type, outside = self.rules.unit_type, self._champion(Reason.LAYER)

        def gate(unit: str) -> Choice | None:
            mine = bucket(hash_unit(layer.salt, unit_type, unit)[0], BUCKETS)
            inside = any(start <= mine < end for start, end in layer.ranges)
            return None if inside else outside

        return gate

    def _from_pin(self, pin: Pin, unit: str) -> Choice:
        rollout = self.rollout
        assert rollout is not None
        if pin.bucket >= rollout.enrolled_ppm:
            return self.not_enrolled
        if pin.allocation != rollout.allocation:
            # An edit came between: what it has retired no pin brings back.
            _, lo = hash_unit(rollout.salt, self.rules.unit_type, unit, algo=rollout.algo)
            mine = self.choices[bisect_right(self.limits, lo.to_bytes(4))]
            if mine.reason is Reason.RETIRED:
                return mine
        return self._pinned.get(pin.arm, self.not_enrolled)

    # ------------------------------------------------------------ answers

    def _arm(self, arm: str | None, reason: Reason) -> Choice:
        """The answer of one arm of the rollout; a retired bucket (None) sees the champion."""
        rollout = self.rollout
        assert rollout is not None
        if arm is None:
            return self._champion(Reason.RETIRED)
        model = rollout.arms.get(CHAMPION if rollout.aa else arm)
        if model is None:
            return self._champion(Reason.ERROR)
        return self._answer(
            arm,
            model,
            reason,
            rollout=rollout.id,
            allocation=rollout.allocation,
            exposed=reason is not Reason.OVERRIDE,
        )

    def _champion(self, reason: Reason, *, exposed: bool = False) -> Choice:
        return self._answer(CHAMPION, self.rules.champion, reason, exposed=exposed)

    def _answer(
        self,
        arm: str,
        model: Model | None,
        reason: Reason,
        *,
        rollout: str | None = None,
        allocation: int | None = None,
        exposed: bool = False,
    ) -> Choice:
        return Choice(
            slot=self.rules.slot,
            arm=arm,
            model=model,
            payload=model.payload if model is not None else None,
            reason=reason,
            rollout=rollout,
            allocation=allocation,
            ruleset=self.version,
            exposed=exposed,
        )


def _below(end: int, n: int) -> bytes:
    """Big-endian bytes such that ``digest < them`` exactly when the digest's bucket is below."""
    limit = threshold(end, n)
    return _EVERY if limit > 0xFFFFFFFF else limit.to_bytes(4)


def _compiled(tree: Mapping[str, Any] | None) -> Condition | None:
    if tree is None:
        return None
    try:
        return compile_condition(tree)
    except InvalidInput:
        return never
