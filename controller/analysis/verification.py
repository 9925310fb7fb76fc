"""Recompute a look from its stored evidence, byte for byte (I14)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from controller.aggregation.statistics import Statistics
from controller.analysis.history import BrokenChain, Fetch, memory_before
from controller.analysis.look import take_look
from controller.analysis.report import SCHEMA, LookInput
from controller.experiments.canonical import canonical_json, sha256_of
from controller.experiments.plans import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Whether a look follows from what it saw, and the sentence that says so."""

    intact: bool
    sentence: str


def verify_evidence(
    evidence: Mapping[str, Any],
    plan: Mapping[str, Any],
    fetch: Fetch,
    *,
    sha256: str | None = None,
) -> Finding:
    """Take the look again and compare.

    Parameters
    ----------
    evidence : mapping
        A stored look (`LookReport.document`).
    plan : mapping
        The plan it names.
    fetch : callable
        Gives stored evidence by its sha256, or None: a look names those before it.
    sha256 : str, optional
        The name under which the look was found; None where it comes without one, from a file.
    """
    if sha256 is not None and sha256_of(evidence) != sha256:
        return Finding(intact=False, sentence=f"What is stored under {sha256} is another document.")
    if sha256_of(plan) != evidence.get("plan_sha256"):
        return Finding(intact=False, sentence="This is not the plan that the look names.")
    if evidence.get("schema") != SCHEMA:
        return Finding(
            intact=False,
            sentence=f"This look was written in schema {evidence.get('schema')} by another version "
            f"of the controller, which can take it again; this one writes schema {SCHEMA}.",
        )
    try:
        previous = memory_before(evidence, fetch)
    except BrokenChain as broken:
        return Finding(intact=False, sentence=f"Look {evidence['number']} names {broken}.")
    again = take_look(
        LookInput(
            plan=Plan.from_document(plan),
            statistics=Statistics.from_document(evidence["statistics"]),
            number=evidence["number"],
            previous=previous,
        )
    ).document()
    if canonical_json(again) == canonical_json(dict(evidence)):
        return Finding(
            intact=True,
            sentence=f"Look {evidence['number']} follows from its statistics, to the byte: "
            f"{sha256_of(again)}.",
        )
    parts = [key for key in again if again[key] != evidence.get(key)]
    return Finding(
        intact=False,
        sentence=f"Look {evidence['number']} does not follow from its statistics; "
        f"different: {', '.join(parts) or 'unknown keys'}.",
    )
