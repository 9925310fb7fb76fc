"""One evidence snapshot at its permanent address: what one look saw and concluded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from controller.errors import NotFound
from controller.experiments.canonical import sha256_of
from controller.experiments.plans import Plan
from controller.flow import numbers
from controller.flow.numbers import Measure
from controller.flow.ports.work import Work
from controller.service.http.calls import Answer, Call, encode
from controller.service.http.router import Route, console
from controller.service.ui import times, words
from controller.service.ui.console import Console, page_route
from controller.service.ui.panels import Figures, figures_of, validity_of
from controller.service.ui.plan_terms import terms_of
from controller.service.ui.words import Badge

FOREVER = "private, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One comparison of the snapshot, and the tests behind it."""

    metric: str
    role: str
    arm: str
    badge: Badge
    reason: str
    figures: Figures
    validity: str
    n: str
    tests: tuple[Mapping[str, str], ...]


def evidence_routes(pages: Console) -> list[Route]:
    """A snapshot as a page and as its exact JSON."""
    store = pages.runtime.store

    def show(call: Call) -> Answer:
        with store.reading() as work:
            found = _found(work, call)
            is_look = "metrics" in found and "number" in found
            is_plan = "arms" in found and "policy" in found
            return pages.page(
                call,
                "evidence.html",
                work=work,
                here="rollouts",
                sha256=call.path["sha256"],
                agrees=sha256_of(found) == call.path["sha256"],
                number=found["number"] if is_look else None,
                taken_at=times.instant(found["statistics"]["taken_at"]) if is_look else None,
                watermark=times.instant(found["statistics"]["watermark"]) if is_look else None,
                terms=terms_of(Plan.from_document(found)) if is_plan else None,
                plan=found["plan_sha256"] if is_look else "",
                lines=_lines(found) if is_look else [],
                several=is_look and len(found["srm"]["exposed"]) > 2,
                srm=_srm(found) if is_look else [],
            )

    def raw(call: Call) -> Answer:
        with store.reading() as work:
            found = _found(work, call)
        name = f"evidence-{call.path['sha256'][:12]}.json"
        return Answer(
            body=encode(found),
            headers={
                "Cache-Control": FOREVER,
                "Content-Disposition": f'attachment; filename="{name}"',
            },
        )

    return [
        page_route("GET", "/evidence/<sha256>", "ui_evidence", "One evidence snapshot", show),
        Route(
            method="GET",
            path="/evidence/<sha256>/json",
            name="ui_evidence_json",
            summary="One evidence snapshot, exactly",
            access=console(),
            handler=raw,
            documented=False,
            errors=(NotFound,),
        ),
    ]


def _found(work: Work, call: Call) -> Mapping[str, Any]:
    found = work.evidence.get(call.project, call.path["sha256"])
    if found is None:
        raise NotFound("There is no evidence of this name.")
    return found


def _lines(document: Mapping[str, Any]) -> list[Line]:
    return [
        Line(
            metric=metric["key"],
            role="decides" if metric["role"] == "oec" else "guardrail",
            arm=one["arm"],
            badge=words.VERDICTS[one["verdict"]],
            reason=words.why(metric, one),
            figures=figures_of(one, Measure()),
            validity=validity_of(one),
            n=numbers.count(sum(arm["n"] for arm in metric["arms"].values())),
            tests=tuple(_test(test) for test in one["tests"]),
        )
        for metric in document["metrics"]
        for one in metric["comparisons"]
    ]


def _test(test: Mapping[str, Any]) -> Mapping[str, str]:
    crossed = test["crossed"]
    return {
        "claim": test["claim"].replace("_", " "),
        "mode": test["mode"],
        "look": numbers.count(test["look"]),
        "evidence": numbers.planned(test["t"]) if test["look"] else numbers.UNKNOWN,
        "score": numbers.score(test["z"]),
        "bound": numbers.UNKNOWN if test["bound"] is None else f"{test['bound']:.3f}",
        "alpha": f"{test['alpha']:g}",
        "spent": f"{test['alpha_spent']:.3g}" if test["mode"] == "planned" else numbers.UNKNOWN,
        "p": numbers.probability(test["p"]),
        "e-value": numbers.UNKNOWN if test["e_value"] is None else f"{test['e_value']:.3g}",
        "crossed": f"{crossed['direction'].replace('_', ' ')}, at the rollout's look "
        f"{crossed['look']}"
        if crossed
        else "no",
    }


def _srm(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    srm = document["srm"]
    exposed = ", ".join(f"{arm} {numbers.count(number)}" for arm, number in srm["exposed"].items())
    return [
        ("Split as planned", "no: alarm" if srm["alarm"] else "yes"),
        ("p", numbers.probability(srm["p"])),
        ("Alarm below", f"{srm['alpha']:g}"),
        ("Exposed", exposed),
    ]
