"""JSON schemas of metrics, slots and policies, drawn up by listening to their readers.

There is no second list of fields to fall behind the first: each reader is given sample documents
that hold every field, and says of every place what may stand there (`document.listening`). A field
is required where a sample without it is refused at that very place. What reaches over several
fields ("give mde or mde_relative, not both") stays with the readers, which have the last word.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from controller.errors import InvalidInput
from controller.experiments.document import listening
from controller.experiments.metric_rules import check_metric
from controller.experiments.metrics import Metric
from controller.experiments.policies import Policy
from controller.experiments.slots import Slot

Document = dict[str, Any]
Read = Callable[[Document], object]

ANY: Final = "any-name"
"""In a sample, a name that stands for every name."""

_BASE: Final = {"direction": "decrease", "lateness_seconds": 60, "complete": "declared"}
_REST: Final = {
    "baseline": {"mean": 1.0, "sd": 1.0},
    "zero_means": "zero",
    "observed": "always",
}
_BACK: Final = {"lookback_seconds": 86400}
_OF_TYPE: Final[Mapping[str, tuple[Document, ...]]] = {
    "binary": ({"outcome": "paid", **_BACK},),
    "count": ({"outcome": "calls", **_BACK},),
    "mean": (
        {"outcome": "cost", **_BACK, "winsorize": {"value": 9.0}},
        {"outcome": "cost", "winsorize": {"quantile": 0.99}},
    ),
    "ratio": ({"numerator": "spend", "denominator": "orders", **_BACK},),
    "quantile": ({"outcome": "latency", "q": 0.95},),
}
_NOTHING: Final = {"lookback_seconds": {"enum": [0, None]}, "winsorize": {"type": "null"}}
"""How a metric of a type that has no use for a field may still write it."""
_OF_CLOSES: Final[Mapping[str, Document]] = {
    "window": {"window_seconds": 604800},
    "first_outcome": {"expected_delay_seconds": 604800},
}
_SAME: Final = (("binary", "count"), ("mean",), ("ratio",), ("quantile",))

_MODEL: Final = {
    "name": "scorecard",
    "version": "7",
    "digest": "sha256:0f",
    "uri": "s3://models/7",
    "payload": {"threshold": 0.25},
    "authors": ["ann"],
}
SLOT_SAMPLES: Final[tuple[Document, ...]] = (
    {
        "key": ANY,
        "unit": "customer",
        "champion": _MODEL,
        "oec": {"metric": "cost", "goal": "superior", "mde": 0.1},
        "guardrails": [
            {"metric": "latency", "margin_relative": 0.05},
            {"metric": "calls", "margin": 1.0},
        ],
        "policy": "cautious",
        "other_policies": ["standard"],
        "fallback": _MODEL,
        "moving": False,
        "observe": 0.05,
        "clients": False,
        "bulk_expose": False,
        "description": "Which customers are called.",
        "eligible": {"attribute": "country", "op": "eq", "value": "GB"},
        "tags": ["checkout"],
        "hash": "sha256",
    },
    {
        "unit": "customer",
        "champion": {"name": "scorecard", "version": "7"},
        "oec": {"metric": "cost", "goal": "not_worse", "margin": 0.1, "mde_relative": 0.1},
    },
)
_GUARDRAIL: Final = {
    "mode": "planned",
    "alpha": 0.025,
    "harm_alpha": 0.01,
    "action": "rollback",
    "horizon": 1000,
}
POLICY_SAMPLES: Final[tuple[Document, ...]] = (
    {
        "name": ANY,
        "version": 1,
        "description": "How it is shown.",
        "autonomy": "L2",
        "ramp": [
            {"enrolled": 0.5, "dwell": "1d", "min_units": 1, "min_matured": 1, "approval": ANY}
        ],
        "oec": {
            "mode": "planned",
            "alpha": 0.05,
            "power": 0.9,
            "horizon": 1000,
            "first_look": 0.05,
            "futility": "none",
            "spending": "kim_demets",
            "gamma": -2,
            "rho": 2,
            "on_no_difference": "keep_testing",
            "reserve": 0.005,
        },
        "guardrails": {**_GUARDRAIL, "metrics": {ANY: _GUARDRAIL}},
        "srm": {"alpha": 0.001},
        "approvals": {
            ANY: {
                "quorum": 2,
                "groups": {ANY: 1},
                "requester_may_approve": False,
                "author_may_approve": False,
                "expires": "3d",
                "min_review_seconds": 0,
            }
        },
        "shadow": {"min_predictions": 1, "min_duration": "1h"},
        "aa": {"min_units": 1},
    },
    {
        "ramp": [{"enrolled": 1}],
        "oec": {"spending": "tabulated", "spending_table": [[0.5, 0.2], [1, 1]]},
    },
)


def metric_schema() -> Document:
    """Of `PUT /v1/metrics/{key}`: one alternative for each shape that a metric can have."""
    return copy.deepcopy(_metric_schema())


def slot_schema() -> Document:
    """Of `PUT /v1/slots/{key}`."""
    return copy.deepcopy(_drawn(_read_slot, SLOT_SAMPLES))


def policy_schema() -> Document:
    """Of `PUT /v1/policies/{name}`."""
    return copy.deepcopy(_drawn(_read_policy, POLICY_SAMPLES))


def metric_samples(types: Sequence[str], closes: str) -> tuple[Document, ...]:
    """Documents that hold, together, every field of metrics of these types that close so."""
    stated: Document = {} if closes == "window" else {"closes": closes}
    return tuple(
        {**_BASE, **_REST, **own, **_OF_CLOSES[closes], **stated, "key": ANY, "type": kind}
        for kind in types
        for own in _OF_TYPE[kind]
    )


def fields_of(schema: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Document]]:
    """Every place of a schema, such as `oec.mde` or `ramp[].dwell`, with what may stand there."""
    for part in (*schema.get("oneOf", ()), *schema.get("anyOf", ())):
        yield from fields_of(part, place)
    for name, inner in schema.get("properties", {}).items():
        where = f"{place}.{name}".lstrip(".")
        yield where, inner
        yield from fields_of(inner, where)
    if isinstance(each := schema.get("additionalProperties"), dict):
        yield from fields_of(each, f"{place}.NAME")
    if isinstance(item := schema.get("items"), dict):
        yield from fields_of(item, f"{place}[]")


def _read_metric(document: Document) -> object:
    metric = Metric.from_document(document, key=ANY, where="")
    check_metric(metric, where="")
    return metric


def _read_slot(document: Document) -> object:
    return Slot.from_document(document, key=ANY, where="")


def _read_policy(document: Document) -> object:
    return Policy.from_document(document, name=ANY, where="")


@cache
def _metric_schema() -> Document:
    shapes = []
    for types in _SAME:
        for closes in _OF_CLOSES:
            samples = metric_samples(types, closes)
            schema = _drawn(_read_metric, samples)
            kept = schema["properties"]
            held = {name for sample in samples for name in sample}
            kept |= {name: said for name, said in _NOTHING.items() if name not in held}
            kept["type"] = {"enum": list(types)}
            kept["closes"] = {"enum": [closes]}
            if closes == "window":
                kept["closes"]["enum"].append(None)
            else:
                schema["required"] = sorted({*schema["required"], "closes"})
            shapes.append(schema)
    return {"type": "object", "oneOf": shapes}


def _drawn(read: Read, samples: Sequence[Document]) -> Document:
    root = _Place()
    for sample in samples:
        with listening(lambda where, schema: root.at(where).hear(schema)):
            read(copy.deepcopy(sample))
    for sample in samples:
        _probe(read, sample, sample, root, "")
    return root.schema()


def _probe(read: Read, sample: Document, part: Any, place: _Place, where: str) -> None:
    """Which members of an object the reader does not do without."""
    if isinstance(part, list):
        for index, item in enumerate(part):
            _probe(read, sample, item, place.item(), f"{where}[{index}]")
    if not isinstance(part, dict) or not place.properties:
        return
    place.seen_objects += 1
    for name, value in part.items():
        at = f"{where}.{name}".lstrip(".")
        if name in place.properties:
            inner = place.properties[name]
            inner.needed += _is_missed(read, sample, at)
            _probe(read, sample, value, inner, at)


def _is_missed(read: Read, sample: Document, at: str) -> bool:
    without = json.loads(json.dumps(sample))  # nothing in it is shared, as it is in the samples
    holder: Any = without
    *path, last = re.findall(r"[^.\[\]]+", at)
    for step in path:
        holder = holder[int(step) if isinstance(holder, list) else step]
    del holder[last]
    try:
        read(without)
    except InvalidInput as error:
        where = error.field.lstrip(".")
        return where == at or where.startswith(f"{at}.")
    return False


@dataclass(slots=True)
class _Place:
    """One place of a document, and what was heard of it."""

    heard: list[Document] = field(default_factory=list)
    properties: dict[str, _Place] = field(default_factory=dict)
    items: _Place | None = None
    seen_objects: int = 0
    needed: int = 0

    def at(self, where: str) -> _Place:
        """The place below this one, made where there is none yet."""
        place = self
        for step in re.findall(r"[^.\[\]]+|\[", where):
            if step == "[":
                place = place.item()
            elif not step.isdigit():
                place = place.properties.setdefault(step, _Place())
        return place

    def item(self) -> _Place:
        """The place of a list's entries."""
        if self.items is None:
            self.items = _Place()
        return self.items

    def hear(self, schema: Mapping[str, Any]) -> None:
        """One more thing that may stand here."""
        if schema and dict(schema) not in self.heard:
            self.heard.append(dict(schema))

    def schema(self) -> Document:
        """What may stand here."""
        kinds = [self._filled(said) for said in self._distinct()]
        if not kinds:
            return {}
        defaults = [kind.pop("default") for kind in kinds if "default" in kind]
        distinct = [kind for at, kind in enumerate(kinds) if kind not in kinds[:at]]
        only = distinct[0] if len(distinct) == 1 else {"anyOf": distinct}
        return {**only, "default": defaults[0]} if len(set(map(str, defaults))) == 1 else only

    def _distinct(self) -> list[Document]:
        """What was heard, without the names of a list's or an object's own entries."""
        types = {said.get("type") for said in self.heard}
        holds = types & {"array", "object"}
        return [said for said in self.heard if not (holds and "pattern" in said)]

    def _filled(self, said: Document) -> Document:
        if said.get("type") == "array":
            names = [one for one in self.heard if "pattern" in one]
            items = (self.items.schema() if self.items else {}) or (names[0] if names else {})
            return {**said, **({"items": items} if items else {})}
        if said.get("type") != "object":
            return dict(said)
        if ANY in self.properties:
            each = self.properties[ANY].schema()
            names = [one for one in self.heard if "pattern" in one]
            named = {"propertyNames": names[0]} if names else {}
            return {**said, **named, "additionalProperties": each}
        required = [
            name for name, one in self.properties.items() if one.needed >= max(1, self.seen_objects)
        ]
        properties = {
            name: one.schema() if name in required else _or_null(one.schema())
            for name, one in self.properties.items()
        }
        found = {**said, "properties": properties, "additionalProperties": False}
        return {**found, "required": sorted(required)} if required else found


def _or_null(schema: Document) -> Document:
    """Null is as good as absent, except in a list."""
    if "anyOf" in schema:
        return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]}
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], None]}
    if "type" in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return schema
