"""Assigning and reporting: everything a client does that never waits, for plain and async code."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from controller.assignment.choice import Choice, Model, Reason
from controller.assignment.hashing import valid_unit
from controller.assignment.ruleset import Ruleset
from controller.sdk.delivery import ALIAS
from controller.sdk.engine import Engine, Row, champion
from controller.sdk.exposures import Seen
from controller.sdk.loading import ensure_loaded
from controller.sdk.options import Options


class Core:
    """A client of one service under one key. Safe to share between threads, and across forks.

    Parameters
    ----------
    url, key : str, optional
        The service and a key with the scopes of an SDK; without both the client is offline: it
        answers from `bootstrap`, counts events and drops them.
    bootstrap : path or mapping, optional
        A ruleset to start from, until the service (or the saved snapshot) gives one.
    state_dir : path, optional
        Where the last ruleset and undelivered events are kept. Default: ``CONTROLLER_STATE_DIR``,
        else the user's state directory.
    override_file : path, optional
        Slot names, or ``*``, that must serve champion; read again every second. Default:
        ``CONTROLLER_OVERRIDE_FILE``.
    poll_seconds, flush_seconds, timeout_seconds : float
        Mean time between polls (jittered by 20 %), between deliveries, and limit of one request.
    max_staleness_seconds : float, optional
        Answer champion (STALE) when the service has not confirmed the ruleset for this long, also
        before this process began.
    stream : bool
        Listen for notes, so that a change arrives at once instead of with the next poll.

    Raises
    ------
    InvalidInput
        If the URL or the key is malformed. Nothing else here raises.
    """

    _engine_type: ClassVar[type[Engine]] = Engine

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        bootstrap: str | Path | Mapping[str, Any] | None = None,
        state_dir: str | Path | None = None,
        override_file: str | Path | None = None,
        poll_seconds: float = 10.0,
        flush_seconds: float = 1.0,
        timeout_seconds: float = 5.0,
        max_staleness_seconds: float | None = None,
        stream: bool = True,
        ssl_context: Any = None,
    ) -> None:
        self._engine = self._engine_type(
            Options(
                url=url,
                key=key,
                bootstrap=bootstrap,
                state_dir=state_dir,
                override_file=override_file or os.environ.get("CONTROLLER_OVERRIDE_FILE"),
                poll_seconds=poll_seconds,
                flush_seconds=flush_seconds,
                timeout_seconds=timeout_seconds,
                max_staleness_seconds=max_staleness_seconds,
                stream=stream,
                ssl_context=ssl_context,
            )
        )

    @classmethod
    def from_env(cls, **options: Any) -> Self:
        """A client of ``CONTROLLER_URL`` and ``CONTROLLER_KEY``; offline when neither is set."""
        url, key = os.environ.get("CONTROLLER_URL"), os.environ.get("CONTROLLER_KEY")
        client = cls(url or None, key or None, **options)
        if client._engine.options.offline:
            client._engine.journal.state("mode", "offline", "CONTROLLER_URL and _KEY are unset")
        return client

    # ------------------------------------------------------------ assignment

    def assign(
        self,
        slot: str,
        unit: str,
        attributes: Mapping[str, Any] | None = None,
        *,
        default: Any = None,
    ) -> Choice:
        """The arm of this unit, reported as an exposure: call it where the model really serves.

        `default` is the payload while there is no ruleset, or no such slot in it.
        """
        try:
            evaluate, seen, recent = self._engine.table[slot]
            choice = evaluate(unit, attributes)
            if choice.exposed and unit not in recent:
                self._expose(choice, unit, attributes, seen)
            return choice
        except Exception as error:  # noqa: BLE001 - the door: a prediction never fails through us
            return self._otherwise(slot, unit, attributes, default, error, expose=True)

    def peek(
        self,
        slot: str,
        unit: str,
        attributes: Mapping[str, Any] | None = None,
        *,
        default: Any = None,
    ) -> Choice:
        """The arm of this unit without an exposure; `expose` may follow with the answer."""
        try:
            evaluate, _, _ = self._engine.table[slot]
            return evaluate(unit, attributes).for_unit(unit)
        except Exception as error:  # noqa: BLE001 - the door
            return self._otherwise(slot, unit, attributes, default, error, expose=False)

    def assign_many(
        self,
        slot: str,
        units: Iterable[str],
        attributes: Mapping[str, Any] | None = None,
        *,
        default: Any = None,
    ) -> list[Choice]:
        """The arms of many units, in their order, without exposures; expose those you use."""
        try:
            return [self.peek(slot, unit, attributes, default=default) for unit in units]
        except Exception as error:  # noqa: BLE001 - the door: `units` may fail while it is read
            self._note(error)
            return []

    def expose(self, choice: Choice, attributes: Mapping[str, Any] | None = None) -> None:
        """Report that the unit of a `peek` or `assign_many` answer has now met its arm."""
        try:
            if choice.exposed and choice.unit is not None:
                seen = self._engine.seen_of(choice.slot, choice.rollout, choice.allocation)
                self._expose(choice, choice.unit, attributes, seen)
        except Exception as error:  # noqa: BLE001 - the door
            self._note(error)

    def prefetch(self, units: Iterable[str]) -> None:
        """Learn in the background whether these units have exceptional pins; never waits.

        Only rollouts that list exceptions need it: merged identities, lost eligibility.
        """
        try:
            self._engine.start()
            self._engine.prefetch(units)
        except Exception as error:  # noqa: BLE001 - the door
            self._note(error)

    # ------------------------------------------------------------ reports

    def track(
        self,
        name: str,
        *,
        unit: str | None = None,
        ref: str | None = None,
        value: float | None = None,
        slot: str | None = None,
        unit_type: str | None = None,
        event_id: str | None = None,
        occurred_at: float | str | None = None,
        corrects: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> str | None:
        """Report an outcome of a unit, or of the prediction `ref`; its event id.

        Parameters
        ----------
        value : float, optional
            Finite; absent counts as 1 for a binary metric.
        event_id : str, optional
            Your own idempotency key: the same id is counted once, however often it is sent.
        occurred_at : float or str, optional
            Unix seconds or RFC 3339; default now.
        """
        fields = {
            "unit": unit,
            "ref": ref,
            "name": name,
            "slot": slot,
            "unit_type": unit_type,
            "corrects": corrects,
        }
        return self._report(
            "outcome",
            fields,
            number=("value", value),
            event_id=event_id,
            occurred_at=occurred_at,
            attributes=attributes,
        )

    def record(
        self,
        choice: Choice,
        *,
        unit: str,
        ref: str,
        score: float | None = None,
        event_id: str | None = None,
        occurred_at: float | str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> str | None:
        """Report one served prediction under the application's own `ref`; its event id."""
        try:
            model = choice.model
            fields = {
                "slot": choice.slot,
                "unit": unit,
                "ref": ref,
                "arm": choice.arm,
                "model": f"{model.name}@{model.version}" if model is not None else "unknown",
                "rollout": choice.rollout,
                "allocation": choice.allocation,
            }
        except Exception as error:  # noqa: BLE001 - the door: this may be no choice at all
            self._note(error)
            return None
        return self._report(
            "prediction",
            fields,
            number=("score", score),
            event_id=event_id,
            occurred_at=occurred_at,
            attributes=attributes,
        )

    def alias(self, unit_type: str, unit: str, alias: str) -> None:
        """Say that two ids are one unit: `alias`, say an anonymous id, and `unit`, an account.

        It travels as events do, and makes the service count and answer both as one. Saying it
        again is harmless. What contradicts an earlier statement is refused there and counted here
        as `events_rejected`.
        """
        try:
            said = {"type": ALIAS, "unit_type": unit_type, "unit": unit, "alias": alias}
            self._engine.put(said)
        except Exception as error:  # noqa: BLE001 - the door
            self._note(error)

    # ------------------------------------------------------------ looking in

    def explain(
        self, slot: str, unit: str, attributes: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Every step that led to the answer, for a person; nothing is reported."""
        choice = self.peek(slot, unit, attributes)
        steps: list[dict[str, Any]] = []
        try:
            ensure_loaded("controller.assignment.explain")
            from controller.assignment.explain import explain

            if self._engine.ruleset is not None:
                pin = self._engine.pin(slot, unit)
                steps = explain(self._engine.ruleset, slot, unit, attributes, pin, given=choice)
        except Exception as error:  # noqa: BLE001 - the door
            self._note(error)
        age = self._engine.confirmed_seconds_ago
        return {
            "slot": slot,
            "unit": unit,
            "arm": choice.arm,
            "reason": choice.reason.value,
            "ruleset": choice.ruleset,
            "source": self._engine.source,
            "confirmed_seconds_ago": None if age == float("inf") else round(age, 3),
            "steps": steps,
        }

    def counts(self) -> dict[str, int]:
        """What happened so far: events delivered, waiting, rejected and lost, errors, refusals."""
        waiting = self._engine.delivery.waiting
        return {**self._engine.journal.counts(), "events_waiting": waiting}

    def states(self) -> dict[str, str]:
        """The present state of refresh, notes, delivery, spool and the rest."""
        return self._engine.journal.states()

    @property
    def ruleset(self) -> Ruleset | None:
        """The ruleset in use, for `controller.sdk.bulk.assign_array`; None while there is none."""
        return self._engine.ruleset

    @property
    def ruleset_version(self) -> int:
        """Version of the ruleset in use; 0 while there is none."""
        ruleset = self._engine.ruleset
        return ruleset.version if ruleset is not None else 0

    def champion(self, slot: str) -> Model | None:
        """The model in charge of a slot, whoever asks; None while that is unknown."""
        ruleset = self._engine.ruleset
        try:
            rules = ruleset.slots.get(slot) if ruleset is not None else None
        except TypeError:  # an unhashable name is no slot's
            return None
        return rules.champion if rules is not None else None

    def prepare(self, timeout_seconds: float) -> bool:
        """Begin the background work and wait for the first ruleset; whether it came in time."""
        self._engine.start()
        if self._engine.options.offline:
            timeout_seconds = 0.0  # nothing can come
        return self._engine.ready.wait(timeout_seconds)

    # ------------------------------------------------------------ inside

    def _flush(self, timeout_seconds: float) -> bool:
        return self._engine.options.offline or self._engine.delivery.flush(timeout_seconds)

    def _otherwise(
        self,
        slot: str,
        unit: str,
        attributes: Mapping[str, Any] | None,
        default: Any,
        error: Exception,
        *,
        expose: bool,
    ) -> Choice:
        """The rare answers: the first of all, no ruleset, no such slot, and a defect."""
        engine = self._engine
        try:
            if isinstance(error, KeyError):  # not in the table, or not when it was looked up
                if not engine.started:
                    engine.start()
                row = engine.table.get(slot)
                if row is None:
                    return self._unknown(slot, unit, default)
                return self._answer(row, unit, attributes, expose=expose)
        except Exception as second:  # noqa: BLE001 - the door
            error = second
        try:
            self._note(error)
            return champion(slot, self.champion(slot), Reason.ERROR, self.ruleset_version, default)
        except Exception:  # noqa: BLE001 - the last door: an unhashable slot, an interpreter's end
            return champion(str(slot), None, Reason.ERROR, 0, default)

    def _answer(
        self, row: Row, unit: str, attributes: Mapping[str, Any] | None, *, expose: bool
    ) -> Choice:
        """What `assign` and `peek` do."""
        evaluate, seen, recent = row
        choice = evaluate(unit, attributes)
        if not expose:
            return choice.for_unit(unit)
        if choice.exposed and unit not in recent:
            self._expose(choice, unit, attributes, seen)
        return choice

    def _unknown(self, slot: str, unit: str, default: Any) -> Choice:
        if not valid_unit(unit):
            reason = Reason.INVALID_UNIT
        elif self._engine.ruleset is None:
            reason = Reason.NO_RULESET
        else:
            reason = Reason.UNKNOWN_SLOT
        self._engine.journal.count(f"answers_{reason.value.lower()}")
        return champion(slot, None, reason, self.ruleset_version, default)

    def _expose(
        self, choice: Choice, unit: str, attributes: Mapping[str, Any] | None, seen: Seen
    ) -> None:
        kept = dict(attributes) if attributes else None  # what fails here was not yet reported
        if not seen.first(unit):
            return
        event: dict[str, Any] = {
            "type": "exposure",
            "event_id": self._engine.delivery.new_id(),
            "occurred_at": time.time(),
            "slot": choice.slot,
            "unit": unit,
            "rollout": choice.rollout,
            "allocation": choice.allocation,
            "arm": choice.arm,
            "ruleset": choice.ruleset,
            "reason": choice.reason.value,
        }
        if kept:
            event["attributes"] = kept
        self._engine.put(event)

    def _report(
        self,
        kind: str,
        fields: Mapping[str, str | int | None],
        *,
        number: tuple[str, float | None],
        event_id: str | None,
        occurred_at: float | str | None,
        attributes: Mapping[str, Any] | None,
    ) -> str | None:
        """Queue an outcome or prediction; what can never be accepted is counted on its way out."""
        try:
            event: dict[str, Any] = {
                "type": kind,
                "event_id": self._engine.delivery.new_id() if event_id is None else event_id,
                "occurred_at": time.time() if occurred_at is None else occurred_at,
            }
            event.update((name, part) for name, part in fields.items() if part is not None)
            if number[1] is not None:
                event[number[0]] = number[1]
            if attributes:
                event["attributes"] = dict(attributes)
            self._engine.put(event)
            return str(event["event_id"])
        except Exception as error:  # noqa: BLE001 - the door
            self._note(error)
            return None

    def _note(self, error: Exception) -> None:
        self._engine.journal.count("errors")
        self._engine.journal.state("errors", type(error).__name__, str(error))

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickled client is a new client with the same options (multiprocessing spawn)."""
        options = self._engine.options
        return _again, (type(self), {name: getattr(options, name) for name in options.__slots__})


def _again(cls: type[Core], options: dict[str, Any]) -> Core:
    return cls(**options)
