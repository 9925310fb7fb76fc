"""Our SDK in the form that a harness of other SDKs measures: `function(spec)` gives an evaluator.

`spec` is ``{"experiments": [{"key", "salt", "arms": [[name, share], ...], "targeting": None or
{"attribute", "in": [...]}}, ...]}``. The evaluator has ``evaluate(key, unit, attributes)``, the
arm or None where the unit is not eligible, ``evaluate_batch(key, units)`` and ``close()``. One
evaluation is a whole `Client.assign`: rules, reason, and the exposure of a unit not seen before.

    HARNESS --adapter tests.benchmarks.sdk_adapter:sha256
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from controller.assignment.hashing import PPM, SHA256, XXH3
from controller.assignment.runs import build_runs
from controller.sdk import Client

Document = dict[str, Any]


class Evaluator:
    """One offline client; its rules come from a document, as they would from the service."""

    def __init__(self, spec: Mapping[str, Any], algo: int) -> None:
        self._document = document_of(spec, algo)
        self._client = Client(bootstrap=self._document)
        self._assign = self._client.assign

    def evaluate(self, key: str, unit: str, attributes: Mapping[str, Any]) -> str | None:
        """The arm, or None where the condition keeps the unit out."""
        choice = self._assign(key, unit, attributes)
        return choice.arm if choice.exposed else None

    def evaluate_batch(self, key: str, units: Sequence[str]) -> Any:
        """The codes of the arms of a whole column (needs numpy)."""
        from controller.assignment.ruleset import Ruleset
        from controller.sdk.bulk import assign_array

        return assign_array(Ruleset.from_document(self._document), key, units).arm_categories

    def close(self) -> None:
        """Nothing to send: the client is offline."""
        self._client.close(0)


def sha256(spec: Mapping[str, Any]) -> Evaluator:
    """The default: split by SHA-256."""
    return Evaluator(spec, SHA256)


def xxh3(spec: Mapping[str, Any]) -> Evaluator:
    """Split by XXH3-64, with the `xxhash` package where it is installed."""
    return Evaluator(spec, XXH3)


def document_of(spec: Mapping[str, Any], algo: int) -> Document:
    """A ruleset with one slot an experiment."""
    return {
        "schema": 1,
        "project": "default",
        "deployment": "benchmark",
        "version": 1,
        "slots": {one["key"]: _slot(one, algo) for one in spec["experiments"]},
    }


def _slot(experiment: Mapping[str, Any], algo: int) -> Document:
    shares = dict(experiment["arms"])
    models = {arm: {"name": "m", "version": arm, "payload": arm} for arm in shares}
    rollout: Document = {
        "id": experiment["key"],
        "attempt": 1,
        "allocation": 1,
        "algo": algo,
        "salt": experiment["salt"],
        "enrolled_ppm": PPM,
        "runs": [list(run) for run in build_runs(shares)],
        "arms": models,
        "sticky": "none",
    }
    if experiment["targeting"] is not None:
        rollout["eligible"] = {
            "attribute": experiment["targeting"]["attribute"],
            "op": "in",
            "value": experiment["targeting"]["in"],
        }
    return {"unit": "user", "champion": models["champion"], "rollout": rollout}
