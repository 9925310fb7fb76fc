"""The exact terms of a rollout, for those who look behind its words."""

from __future__ import annotations

from dataclasses import dataclass

from controller.flow import numbers
from controller.service.ui import times, words
from controller.service.ui.view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A term and its value; `code` values are shown in full on a line of their own."""

    name: str
    value: str
    code: bool = False


def facts_of(view: View) -> list[Fact]:
    """Ids, digests, allocation, epoch, alpha and deadlines."""
    metadata, spec, status = (view.document[part] for part in ("metadata", "spec", "status"))
    facts = [
        Fact(name="Rollout", value=metadata["uid"], code=True),
        Fact(name="Version", value=metadata["resource_version"]),
        Fact(name="Attempt", value=str(metadata["attempt"])),
        Fact(name="Owner", value=metadata["owner"]),
        Fact(name="Asked for by", value=metadata["created_by"]),
        Fact(name="Unit", value=spec["unit"]),
        Fact(name="Policy", value=_policy(view)),
        *_models(view),
    ]
    if view.plan is not None:
        oec = view.plan.policy.oec
        facts += [
            Fact(name="Plan", value=view.plan.sha256, code=True),
            Fact(name="Planned evidence", value=numbers.plural(view.plan.horizon, "complete unit")),
            Fact(
                name="Test of the OEC",
                value=f"{oec.mode.value}, alpha {oec.alpha:g}, spending {oec.spending.value}"
                f", futility {oec.futility.value.replace('_', '-')}",
            ),
            Fact(
                name="SRM alarm", value=f"p below {view.plan.policy.srm_alpha:g}, valid at any time"
            ),
            Fact(name="Autonomy", value=view.plan.policy.autonomy.value),
        ]
    verdict = status["verdict"]
    facts += [
        Fact(name="Verdict", value=f"{verdict['value']} ({verdict['reason'] or 'no look yet'})"),
        Fact(name="Look", value=str(verdict["look"])),
    ]
    for one in status["deadlines"]:
        at = times.instant(one["at"])
        assert at is not None
        state = words.STATES[one["state"]].word
        facts.append(
            Fact(name=f"Deadline of {state}", value=f"{times.full(at)}; then {one['outcome']}")
        )
    return [*facts, *_memory(view)]


def _memory(view: View) -> list[Fact]:
    """Remembered arms: whether their store answers, and the units that need one."""
    pins, units = view.status["pins"], words.many(view.document["spec"]["unit"])
    if pins["mode"] is None:
        return []
    if pins["available"] is None:
        state = "no process has reported lately"
    else:
        state = "answering" if pins["available"] else "away: arms come from the split alone"
    facts = [
        Fact(name="Remembered arms (pins)", value=pins["mode"]),
        Fact(
            name="Store of pins",
            value=f"{state}; {numbers.plural(pins['waiting'], 'pin')} waiting to be written",
        ),
        Fact(
            name="Answers without the store",
            value=f"{numbers.count(pins['skipped'])} since set-up, "
            f"{numbers.count(pins['written_later'])} pins written later, "
            f"{numbers.count(pins['lost'])} given up",
        ),
    ]
    excepted = pins["merged"] + pins["kept_ineligible"]
    if excepted:
        facts.append(
            Fact(
                name="Exceptions of the split",
                value=f"{numbers.count(pins['merged'])} {units} answered as another id of theirs, "
                f"{numbers.count(pins['kept_ineligible'])} that lost their eligibility; SDKs know "
                f"{numbers.count(pins['published'])} of {numbers.count(excepted)}; "
                f"{numbers.count(pins['unknown'])} exposures before the pin was known; "
                f"{numbers.count(pins['rebuilt'])} pins put back, "
                f"{numbers.count(pins['refused'])} refused by the store"
                + ("; an edit's exceptions are still being written" if pins["keeping"] else ""),
            )
        )
    diluted = pins["merged_kept_out"] + pins["merged_retired"]
    if diluted:
        facts.append(
            Fact(
                name="Merged ids that do not see their unit's arm",
                value=f"{numbers.count(pins['merged_kept_out'])} kept out by an override, holdout "
                f"or layer, {numbers.count(pins['merged_retired'])} whose bucket is retired: "
                "they make an effect look smaller",
            )
        )
    return facts


def _policy(view: View) -> str:
    policy = view.document["spec"]["policy"]
    version = f" version {policy['version']}" if policy["version"] else ""
    unreviewed = ", unreviewed: who asks may also approve" if view.status["unreviewed"] else ""
    return f"{policy['name']}{version}{unreviewed}"


def _models(view: View) -> list[Fact]:
    spec = view.document["spec"]
    models = [("champion", spec["champion"]), *((one["arm"], one) for one in spec["challengers"])]
    return [
        Fact(
            name=f"{arm.capitalize()} digest",
            value=model.get("digest") or model["identity"],
            code=True,
        )
        for arm, model in models
    ]
