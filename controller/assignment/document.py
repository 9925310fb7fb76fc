"""The ruleset's JSON document, read into values and written from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar, get_args

from controller.assignment.choice import CHAMPION, Model
from controller.assignment.hashing import ALGORITHMS, PPM
from controller.assignment.ruleset import (
    EVENT_SCHEMA,
    SCHEMA,
    Gates,
    Kill,
    KillTo,
    Layer,
    Overrides,
    RolloutRules,
    Ruleset,
    Share,
    SlotRules,
    Sticky,
)
from controller.assignment.runs import Ranges, check_ranges, check_runs
from controller.errors import InvalidInput, RulesetRefused

MAX_OVERRIDES = 1_000

T = TypeVar("T")


# ---------------------------------------------------------------- reading


def read_ruleset(document: object) -> Ruleset:
    """A ruleset from its parsed document; see `Ruleset.from_document`."""
    try:
        whole = _object(document, "ruleset")
        _check_schema(_integer(whole, "schema"))
        slots = _slots(whole)
        return Ruleset(
            project=_text(whole, "project"),
            deployment=_text(whole, "deployment"),
            version=_integer(whole, "version", low=1),
            event_schema=_integer(whole, "event_schema", default=EVENT_SCHEMA, low=1),
            slots=MappingProxyType({name: _slot(name, rules) for name, rules in slots.items()}),
        )
    except _Unreadable as error:
        raise RulesetRefused(f"The ruleset cannot be used: {error}.") from error


def _check_schema(schema: int) -> None:
    if schema != SCHEMA:
        raise _Unreadable(f"schema {schema} is not {SCHEMA}; update the package")


def _slots(whole: Mapping[str, Any]) -> Mapping[str, Any]:
    slots = _object(whole.get("slots"), "slots")
    if not slots and whole.get("empty") is not True:
        raise _Unreadable("it has no slots and does not say that it is meant to be empty")
    return slots


class _Unreadable(ValueError):
    """A part that this version cannot read."""


def _slot(name: str, document: object) -> SlotRules:
    """One slot; what cannot be read is left out and named, never guessed."""
    rules = document if isinstance(document, Mapping) else {}
    champion: Model | None = None
    unit_type = ""
    try:
        champion = _model(rules.get("champion"))
        unit_type = _text(rules, "unit")
        gates = _gates(rules)
        return SlotRules(
            slot=name,
            unit_type=unit_type,
            champion=champion,
            fallback=_optional(rules, "fallback", _model),
            kill=_optional(rules, "kill", _kill),
            observe=_optional(rules, "observe", _share),
            overrides=gates.overrides,
            holdouts=gates.holdouts,
            layer=gates.layer,
            rollout=_optional(rules, "rollout", _rollout),
            clients=_flag(rules, "clients"),
            bulk_expose=_flag(rules, "bulk_expose"),
        )
    except (_Unreadable, InvalidInput) as error:
        # A kill is the one rule that must hold even when the rest cannot be read.
        return SlotRules(
            slot=name,
            unit_type=unit_type,
            champion=champion,
            kill=_kill_alone(rules),
            unreadable=str(error),
        )


def read_gates(document: object) -> Gates:
    """Overrides, holdouts and layer of a slot, from that part of its document.

    Raises
    ------
    RulesetRefused
        If this version cannot read them.
    """
    try:
        return _gates(_object(document, "gates"))
    except (_Unreadable, InvalidInput) as error:
        raise RulesetRefused(f"The gates cannot be used: {error}.") from error


def _gates(rules: Mapping[str, Any]) -> Gates:
    return Gates(
        overrides=_optional(rules, "overrides", _overrides),
        holdouts=tuple(_share(part) for part in _list(rules.get("holdouts", []), "holdouts")),
        layer=_optional(rules, "layer", _layer),
    )


def _kill_alone(rules: Mapping[str, Any]) -> Kill | None:
    try:
        return _optional(rules, "kill", _kill)
    except _Unreadable:
        return None


def _model(value: object) -> Model:
    model = _object(value, "model")
    return Model(
        name=_text(model, "name"),
        version=_text(model, "version"),
        digest=_optional_text(model, "digest"),
        uri=_optional_text(model, "uri"),
        payload=model.get("payload"),
    )


def _kill(value: object) -> Kill:
    kill = _object(value, "kill")
    to: KillTo = _choice(kill, "to", get_args(KillTo))
    return Kill(to=to, model=_model(kill.get("model")))


def _share(value: object) -> Share:
    share = _object(value, "share")
    return Share(
        name=_optional_text(share, "name") or "",
        salt=_text(share, "salt"),
        ppm=_integer(share, "ppm", low=0, high=PPM),
    )


def _layer(value: object) -> Layer:
    layer = _object(value, "layer")
    ranges = check_ranges(layer.get("ranges"), field="ranges")
    return Layer(name=_text(layer, "name"), salt=_text(layer, "salt"), ranges=ranges)


def _overrides(value: object) -> Overrides:
    overrides = _object(value, "overrides")
    arms = _object(overrides.get("arms"), "overrides.arms")
    if len(arms) > MAX_OVERRIDES or any(not isinstance(arm, str) for arm in arms.values()):
        raise _Unreadable(f"overrides name an arm for at most {MAX_OVERRIDES} units")
    return Overrides(key=_text(overrides, "key"), arms=MappingProxyType(dict(arms)))


def _rollout(value: object) -> RolloutRules:
    rollout = _object(value, "rollout")
    algo = _integer(rollout, "algo")
    if algo not in ALGORITHMS:
        raise _Unreadable(f"hash algorithm {algo} is not known")
    arms = {
        arm: _model(model) for arm, model in _object(rollout.get("arms"), "rollout.arms").items()
    }
    if CHAMPION not in arms:
        raise _Unreadable("a rollout has the arm champion")
    sticky: Sticky = _choice(rollout, "sticky", get_args(Sticky))
    eligible = rollout.get("eligible")
    return RolloutRules(
        id=_text(rollout, "id"),
        attempt=_integer(rollout, "attempt", low=1),
        allocation=_integer(rollout, "allocation", low=1),
        algo=algo,
        salt=_text(rollout, "salt"),
        enrolled_ppm=_integer(rollout, "enrolled_ppm", low=0, high=PPM),
        runs=check_runs(rollout.get("runs"), arms=arms),
        retired=check_ranges(rollout.get("retired", []), field="retired"),
        arms=MappingProxyType(arms),
        eligible=None if eligible is None else _object(eligible, "eligible"),
        sticky=sticky,
        aa=_flag(rollout, "aa"),
        ends_at=_optional(rollout, "ends_at", lambda _: _integer(rollout, "ends_at", low=0)),
        exceptions=_optional_text(rollout, "exceptions"),
        keeps=_numbers(rollout, "keeps"),
    )


def _object(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _Unreadable(f"{name} must be an object")
    return value


def _list(value: object, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise _Unreadable(f"{name} must be a list")
    return value


def _text(parent: Mapping[str, Any], name: str) -> str:
    value = parent.get(name)
    if not isinstance(value, str) or not value:
        raise _Unreadable(f"{name} must be a non-empty string")
    return value


def _optional_text(parent: Mapping[str, Any], name: str) -> str | None:
    return None if parent.get(name) is None else _text(parent, name)


def _integer(
    parent: Mapping[str, Any],
    name: str,
    *,
    default: int | None = None,
    low: int = 0,
    high: int = 2**53,
) -> int:
    value = parent.get(name, default)
    if type(value) is not int or not low <= value <= high:
        raise _Unreadable(f"{name} must be an integer from {low} to {high}")
    return value


def _numbers(parent: Mapping[str, Any], name: str) -> tuple[int, ...]:
    values = _list(parent.get(name, []), name)
    if any(type(value) is not int or value < 1 for value in values):
        raise _Unreadable(f"{name} must be a list of positive integers")
    return tuple(values)


def _flag(parent: Mapping[str, Any], name: str) -> bool:
    value = parent.get(name, False)
    if not isinstance(value, bool):
        raise _Unreadable(f"{name} must be true or false")
    return value


def _choice(parent: Mapping[str, Any], name: str, allowed: tuple[Any, ...]) -> Any:
    value = parent.get(name)
    if value not in allowed:
        raise _Unreadable(f"{name} must be one of {', '.join(allowed)}")
    return value


def _optional(parent: Mapping[str, Any], name: str, read: Callable[[object], T]) -> T | None:
    value = parent.get(name)
    return None if value is None else read(value)


# ---------------------------------------------------------------- writing


def write_ruleset(ruleset: Ruleset) -> dict[str, Any]:
    """The document of a ruleset; `read_ruleset` gives the same ruleset back."""
    document = {
        "schema": SCHEMA,
        "project": ruleset.project,
        "deployment": ruleset.deployment,
        "version": ruleset.version,
        "event_schema": ruleset.event_schema,
        "slots": {name: _write_slot(rules) for name, rules in ruleset.slots.items()},
    }
    if not ruleset.slots:
        document["empty"] = True
    return document


def _write_slot(rules: SlotRules) -> dict[str, Any]:
    kill = rules.kill
    gates = Gates(overrides=rules.overrides, holdouts=rules.holdouts, layer=rules.layer)
    return _without_absent(
        {
            "unit": rules.unit_type,
            "champion": _write_model(rules.champion),
            "fallback": _write_model(rules.fallback),
            "kill": kill and {"to": kill.to, "model": _write_model(kill.model)},
            "observe": rules.observe and _write_share(rules.observe),
            **write_gates(gates),
            "rollout": rules.rollout and _write_rollout(rules.rollout),
            "clients": rules.clients or None,
            "bulk_expose": rules.bulk_expose or None,
        }
    )


def write_gates(gates: Gates) -> dict[str, Any]:
    """Their part of a slot's document; `read_gates` gives the same gates back."""
    overrides, layer = gates.overrides, gates.layer
    return _without_absent(
        {
            "overrides": overrides and {"key": overrides.key, "arms": dict(overrides.arms)},
            "holdouts": [_write_share(share) for share in gates.holdouts] or None,
            "layer": layer
            and {
                "name": layer.name,
                "salt": layer.salt,
                "ranges": _write_ranges(layer.ranges),
            },
        }
    )


def _write_rollout(rollout: RolloutRules) -> dict[str, Any]:
    return _without_absent(
        {
            "id": rollout.id,
            "attempt": rollout.attempt,
            "allocation": rollout.allocation,
            "algo": rollout.algo,
            "salt": rollout.salt,
            "enrolled_ppm": rollout.enrolled_ppm,
            "runs": [[end, arm] for end, arm in rollout.runs],
            "retired": _write_ranges(rollout.retired) or None,
            "arms": {arm: _write_model(model) for arm, model in rollout.arms.items()},
            "eligible": rollout.eligible,
            "sticky": rollout.sticky,
            "aa": rollout.aa or None,
            "ends_at": rollout.ends_at,
            "exceptions": rollout.exceptions,
            "keeps": list(rollout.keeps) or None,
        }
    )


def _write_model(model: Model | None) -> dict[str, Any] | None:
    if model is None:
        return None
    return _without_absent(
        {
            "name": model.name,
            "version": model.version,
            "digest": model.digest,
            "uri": model.uri,
            "payload": model.payload,
        }
    )


def _write_share(share: Share) -> dict[str, Any]:
    return _without_absent({"name": share.name or None, "salt": share.salt, "ppm": share.ppm})


def _write_ranges(ranges: Ranges) -> list[list[int]]:
    return [[start, end] for start, end in ranges]


def _without_absent(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if value is not None}
