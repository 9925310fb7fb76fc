"""The human report: what was found in words and numbers, with a chart of the intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

_WIDTH = 48
_VERDICTS = {
    "better": "better",
    "worse": "worse",
    "not_worse": "not worse than the margin",
    "harm": "harm beyond the margin",
    "no_difference": "no difference shown",
    "inconclusive": "inconclusive",
    "unknown": "unknown",
}
_REASONS = {
    "boundary_crossed": "the boundary was crossed",
    "horizon_reached": "the horizon was reached without a crossing",
    "equivalent": "no difference as large as the one that matters is left",
    "not_after_correction": "it does not stand beside the other claims of its family",
    "horizon_passed": "the horizon is past without a crossing, nor has the reserve crossed",
    "horizon_not_reached": "the data end before the plan's horizon",
    "guardrail_not_shown": "the horizon was reached and the margin is not cleared",
    "not_shown": "the evidence does not reach the level yet",
    "not_significant": "p is above alpha at this one look",
    "significant": "p is at most alpha at this one look",
    "harm_alarm": "the harm alarm fired",
    "no_data": "there are no data",
    "missing_differs": "values are missing unevenly, most often of {cause}",
    "srm": "the units are not split as planned, so nothing can be read from them",
    "double_exposure": "too many units met two arms, so nothing can be read from the others",
    "covariate_differs": "the covariate of {cause} differs, so it is not from before exposure",
    "arm_silent": "{cause} shows nothing but zeros where the others do not",
}


def text_of(document: Mapping[str, Any]) -> str:
    """One experiment's report as lines of text."""
    lines = []
    if document.get("by"):
        lines += [", ".join(f"{name} {value}" for name, value in document["by"].items()), ""]
    lines.append(_srm(document["srm"]))
    if document.get("double_exposure"):
        lines.append(double_exposure(document["double_exposure"]))
    lines += [f"Note: {warning}." for warning in document["warnings"]]
    fell = [(look["at"], warning) for look in document["looks"] for warning in look["warnings"]]
    lines += [f"Note: at look {at}: {warning}." for at, warning in fell[:5]]
    if len(fell) > 5:
        lines.append(f"Note: {len(fell) - 5} more looks have such warnings (--json lists them).")
    for key, metric in document["metrics"].items():
        lines += ["", *_metric(key, metric, document["champion"])]
    return "\n".join(lines)


def number(value: float | None, *, signed: bool = False) -> str:
    """Four significant digits; a dash where there is no number."""
    if value is None:
        return "-"
    return f"{value:+.4g}" if signed else f"{value:.4g}"


def share(value: float | None) -> str:
    """A signed percentage."""
    return "-" if value is None else f"{100 * value:+.2f} %"


def probability(value: float | None) -> str:
    """A p-value as people write it."""
    if value is None:
        return "-"
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def interval(ends: Sequence[float | None] | None, *, relative: bool = False) -> str:
    """An interval whose open end says so."""
    if ends is None:
        return "-"
    show = share if relative else lambda value: number(value, signed=True)
    low = "open" if ends[0] is None else show(ends[0])
    high = "open" if ends[1] is None else show(ends[1])
    return f"{low} to {high}"


def missing(found: Mapping[str, Any]) -> str:
    """How many of an arm's complete units have no value; nothing where all have one."""
    if not found.get("missing"):
        return ""
    complete = found["n"] + found["missing"]
    part = 100 * found["missing"] / complete
    return f"  of {complete:,} complete units {found['missing']:,} ({part:.1f} %) have no value"


def verdict_words(comparison: Mapping[str, Any]) -> str:
    """Verdict and reason as a sentence."""
    verdict, reason = comparison["verdict"], comparison["reason"]
    words = _REASONS.get(reason, reason.replace("_", " "))
    return f"{_VERDICTS[verdict]}: {words.format(cause=comparison.get('cause', 'an arm'))}"


def _srm(srm: Mapping[str, Any]) -> str:
    if srm["p_sequential"] is None:
        return "Sample ratio: no units."
    state = "ALARM, the split is not the one asked for" if srm["alarm"] else "as asked for"
    p = probability(srm["p_sequential"])
    return f"Sample ratio: {state} (sequential p {p}, chi-square p {probability(srm['p_fixed'])})."


def double_exposure(found: Mapping[str, Any]) -> str:
    """How many units met two arms, as a sentence."""
    if not found["units"]:
        return "Double exposure: no unit met two arms."
    state = "ALARM, the split is not kept" if found["alarm"] else "few"
    left = f"{found['units']:,} units ({100 * found['share']:.2f} %)"
    return f"Double exposure: {state}; {left} met two arms and are not analysed."


def _metric(key: str, metric: Mapping[str, Any], champion: str) -> list[str]:
    better = "higher" if metric["direction"] == "increase" else "lower"
    lines = [f"{key} ({metric['role']}, {metric['type']}, {better} is better)"]
    width = max(len(arm) for arm in metric["arms"])
    for arm, found in metric["arms"].items():
        level = found.get("quantile", found["mean"])
        mark = "  champion" if arm == champion else ""
        lines.append(
            f"  {arm:<{width}}  n {found['n']:>12,}  {number(level):>12}{mark}{missing(found)}"
        )
    for arm, comparison in metric["comparisons"].items():
        lines += [f"  {arm}: {verdict_words(comparison)}", *_numbers(comparison)]
        lines += chart(comparison)
    return lines


def _numbers(comparison: Mapping[str, Any]) -> list[str]:
    relative, fixed, test = (comparison[k] for k in ("relative", "fixed", "sequential"))
    difference = number(comparison["estimate"], signed=True)
    lift = f"{share(relative['estimate'])} ({interval(relative['ci'], relative=True)})"
    lines = [f"    difference {difference}   relative {lift}"]
    if test is not None:
        first = ""
        if test["first_n"] is not None:
            first = f", first at look {test['first_look']} with {test['first_n']:,} units"
        if test["estimate"] != comparison["estimate"]:
            first += f" and difference {number(test['estimate'], signed=True)}"
        lines.append(
            f"    {test['mode']:<8} {interval(test['ci'])}   p {probability(test['p'])}"
            f"   e {number(test['e_value'])}{first}"
        )
    lines.append(
        f"    {'fixed':<8} {interval(fixed['ci'])}   p {probability(fixed['p'])}"
        + ("   (valid for one look only)" if test is not None else "")
    )
    if comparison.get("adjusted_for", 1) > 1:
        lines.append(
            f"    p {probability(comparison['adjusted_p'])} beside the other claims, "
            f"{comparison['adjusted_for']} in all; the numbers above are this one's alone"
        )
    if "thin_tail" in comparison:
        lines.append(_thin_tail(comparison["thin_tail"]))
    apart = comparison.get("heterogeneity")
    if apart is not None and apart["differ"]:
        each = ", ".join(
            f"{effect['epoch']}: {number(effect['estimate'], signed=True)}"
            for effect in apart["effects"]
        )
        lines.append(f"    the epochs disagree (p {probability(apart['p'])}): {each}")
    return lines


def _thin_tail(found: Mapping[str, Any]) -> str:
    harm = f", of harm {probability(found['harm_p'])}" if "harm_p" in found else ""
    return (
        f"    {'exact':<8} {interval(found['ci'])}   p {probability(found['p'])}{harm}"
        f"   (thin tail: from the {found['n'][0]:,} and {found['n'][1]:,} values themselves)"
    )


def chart(comparison: Mapping[str, Any]) -> list[str]:
    """The intervals on one axis with zero, and the margin where there is one."""
    rows = [("fixed", comparison["fixed"]["ci"], comparison["estimate"])]
    test = comparison["sequential"]
    if test is not None:
        rows.insert(0, (test["mode"], test["ci"], test["estimate"]))
    known = [row for row in rows if row[1] is not None and row[2] is not None]
    if not known:
        return []
    ends: list[float] = [end for _, ci, _ in known for end in ci if end is not None]
    ends += [estimate for _, _, estimate in known]
    low, high = min(*ends, 0.0), max(*ends, 0.0)
    if not high > low:
        return []
    pad = 0.04 * (high - low)
    low, span = low - pad, high - low + 2 * pad

    def column(value: float | None, otherwise: int) -> int:
        if value is None or not math.isfinite(value):
            return otherwise
        return round((value - low) / span * (_WIDTH - 1))

    lines = []
    for name, ci, estimate in known:
        cells = [" "] * _WIDTH
        start, stop = column(ci[0], 0), column(ci[1], _WIDTH - 1)
        for place in range(start, stop + 1):
            cells[place] = "─"
        cells[start] = "├" if ci[0] is not None else "◀"
        cells[stop] = "┤" if ci[1] is not None else "▶"
        zero = column(0.0, 0)
        cells[zero] = "┼" if start <= zero <= stop else "│"
        cells[column(estimate, 0)] = "●"
        lines.append(f"    {name:<8} {''.join(cells).rstrip()}")
    return [*lines, f"    {'':<8} {' ' * column(0.0, 0)}0"]
