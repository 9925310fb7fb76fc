"""The plan of a rollout as people read it in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final

_STEPS: Final = {
    "first_evidence": "first evidence",
    "deciding": "the ramp is over: a promotion may be proposed",
    "decision": "evidence suffices, if the effect is there",
    "no_difference": "given up, if there is no difference",
    "horizon": "every planned unit is complete",
    "deadline": "deadline",
}
_WAITED: Final = {
    "dwell": "",
    "min_units": ", once enough units have met it",
    "min_matured": ", once enough outcomes are complete",
}
_CURVE: Final = 6


def page(answer: Mapping[str, Any]) -> str:
    """The whole answer of `POST /v1/plans`."""
    parts = [
        [_verdict(answer), _traffic(answer)],
        _calendar(answer["calendar"]),
        _claims(answer["claims"]),
        _curve(answer["claims"][0]),
        [f"! {line}" for line in (*answer["advice"], *answer["warnings"])],
    ]
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def _verdict(answer: Mapping[str, Any]) -> str:
    policy = f"{answer['policy']} (version {answer['policy_version']})"
    says = "can decide" if answer["feasible"] else "CANNOT be relied on to decide"
    return (
        f"A rollout in {answer['slot']} under {policy} {says} "
        f"within {answer['limit_days']:,.4g} days."
    )


def _traffic(answer: Mapping[str, Any]) -> str:
    traffic = answer["traffic"]
    origin = "as observed at rest" if answer["traffic_observed"] else "as stated"
    text = f"New eligible units a day: {traffic['expected']:,.0f}"
    if traffic["low"] != traffic["high"]:
        text += f" ({traffic['low']:,.0f} to {traffic['high']:,.0f})"
    return f"{text}, {origin}."


def _calendar(steps: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [("DATE", "DAY", "BETWEEN", "STEP")]
    for step in steps:
        days = step["days"]
        between = "" if step["soonest"] == step["latest"] else _between(step)
        rows.append((_date(step["expected"]), _day(days["expected"]), between, _step(step)))
    return _table(rows)


def _step(step: Mapping[str, Any]) -> str:
    if step["step"] != "stage":
        return _STEPS[step["step"]] + _WAITED.get(step["waited_for"] or "dwell", "")
    text = (
        f"stage {step['stage']}: {100 * step['enrolled']:.4g} % of traffic enrolled, "
        f"{100 * step['challenger_share']:.4g} % meets the challenger"
    )
    if step["approval"]:
        text += f", after approval {step['approval']}"
    return text + _WAITED[step["waited_for"] or "dwell"]


def _claims(claims: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [("METRIC", "ROLE", "UNITS", "POWER BY THE DEADLINE", "SMALLEST EFFECT FOUND")]
    for claim in claims:
        effect = claim["effect_at_limit"]
        rows.append(
            (
                claim["metric"],
                claim["role"],
                f"{claim['units']:,}",
                f"{claim['power_at_limit']:.2f}",
                "none" if effect is None else f"{effect:.4g}",
            )
        )
    return _table(rows)


def _curve(claim: Mapping[str, Any]) -> list[str]:
    """The smallest effect found by a few of the days."""
    curve = claim["mde_curve"]
    if not curve:
        return []
    every = max(1, len(curve) // _CURVE)
    points = [*curve[::every][: _CURVE - 1], curve[-1]]
    shown = ", ".join(f"{effect:.4g} by day {day}" for day, effect in dict(points).items())
    return [f"Smallest effect of {claim['metric']} that is found: {shown}."]


def _between(step: Mapping[str, Any]) -> str:
    return f"{_date(step['soonest'])} and {_date(step['latest'])}"


def _date(text: str | None) -> str:
    if text is None:
        return "never"
    day = date.fromisoformat(text)
    return f"{day.day} {day:%B %Y}"


def _day(days: float | None) -> str:
    return "-" if days is None else f"{days:,.1f}"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
