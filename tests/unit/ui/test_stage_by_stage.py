"""An effect that differs between stages: in the sentence, the status document and the panel."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from controller.flow.differing import differing
from controller.flow.lint import warnings_of
from controller.flow.numbers import Measure
from controller.rollout.record import Rollout
from controller.rollout.states import Verb
from controller.service.ui.panels import Panel, panel_of, panels_of
from controller.service.ui.plan_terms import terms_of
from controller.service.ui.view import read_view
from tests.unit.flow.desk import PROJECT, STEPS, Desk
from tests.unit.ui.conftest import Browser
from tests.unit.ui.reading import text_of, waiting

POLICY = {"ramp": STEPS, "oec": {"horizon": 40_000, "futility": "none"}}


def ramped(desk: Desk, first: float, second: float) -> Rollout:
    """Two stages of one rollout, with these shares of success of the challenger."""
    rollout = desk.started()
    desk.see("on-time", epoch=1, champion=(1000, 0.5), challenger=(1000, first))
    desk.see("complaints", epoch=1, champion=(1000, 0.05), challenger=(1000, 0.05))
    desk.ticks(31)
    desk.do(rollout, Verb.ADVANCE, by="ben")
    desk.see("on-time", epoch=2, champion=(3000, 0.5), challenger=(3000, second))
    desk.see("complaints", epoch=2, champion=(3000, 0.05), challenger=(3000, 0.05))
    desk.ticks(2)
    return desk.get(rollout)


def panel(desk: Desk, rollout: Rollout, metric: str = "on-time") -> Panel:
    with desk.store.reading() as work:
        panels = panels_of(read_view(work, PROJECT, rollout.id))
    return next(one for one in panels if one.metric == metric)


@pytest.fixture(scope="module")
def apart() -> tuple[Desk, Rollout]:
    desk = Desk(POLICY)
    return desk, ramped(desk, 0.62, 0.46)


SAID = (
    "The effect differs between stages: +12.0 pp at 10% of traffic, \N{MINUS SIGN}4.0 pp at 100% "
    "of traffic. The difference shown is their average; 75% of it comes from the stage with 100% "
    "of traffic."
)


def plain(text: str) -> str:
    return text.replace("\N{NARROW NO-BREAK SPACE}", " ")


def test_the_sentence_says_that_stages_disagree(apart: tuple[Desk, Rollout]) -> None:
    desk, rollout = apart
    assert SAID in plain(desk.status(rollout)["status"]["sentence"])


def test_the_status_document_has_every_stage(apart: tuple[Desk, Rollout]) -> None:
    desk, rollout = apart
    metrics = {one["key"]: one for one in desk.status(rollout)["status"]["metrics"]}
    (comparison,) = metrics["on-time"]["comparisons"]
    assert comparison["epochs"]["differ"] is True
    shares = [one["share"] for one in comparison["epochs"]["effects"]]
    assert shares == [0.25, 0.75]
    assert comparison["estimate"] == pytest.approx(0.25 * 0.12 - 0.75 * 0.04)
    assert metrics["complaints"]["comparisons"][0]["epochs"]["differ"] is False


def test_the_panel_lists_the_stages_and_what_the_difference_averages(
    apart: tuple[Desk, Rollout],
) -> None:
    found = panel(*apart)
    assert plain(found.differing) == SAID
    assert [(line.name, plain(line.estimate), line.part) for line in found.stages] == [
        ("10% of traffic", "+12.0 pp", "25%"),
        ("100% of traffic", "\N{MINUS SIGN}4.0 pp", "75%"),
    ]
    assert [plain(line.error) for line in found.stages] == ["2.2 pp", "1.3 pp"]
    assert "p < 0.001, however often one looks" in found.agreement
    agreeing = panel(*apart, metric="complaints")
    assert agreeing.differing == ""
    assert len(agreeing.stages) == 2


def test_stages_that_agree_are_not_mentioned() -> None:
    desk = Desk(POLICY)
    rollout = ramped(desk, 0.52, 0.52)
    assert "differs between" not in desk.status(rollout)["status"]["sentence"]
    assert panel(desk, rollout).differing == ""


def test_one_stage_has_no_list() -> None:
    desk = Desk(POLICY)
    rollout = desk.started()
    desk.see("on-time", epoch=1, champion=(1000, 0.5), challenger=(1000, 0.6))
    desk.ticks(1)
    found = panel(desk, rollout)
    assert (found.stages, found.agreement, found.differing) == ((), "", "")


def effect(epoch: int, enrolled: float, estimate: float, share: float) -> dict[str, object]:
    return {
        "epoch": epoch,
        "enrolled": enrolled,
        "estimate": estimate,
        "standard_error": 0.1,
        "share": share,
        "tested": True,
    }


def test_stages_with_the_same_share_are_told_apart_and_many_are_summed_up() -> None:
    epochs = [effect(n, 0.5, float(n), 0.2) for n in (1, 2)]
    said = differing({"epochs": {"differ": True, "effects": epochs}}, Measure())
    assert "+1.00 at 50% of traffic (epoch 1), +2.00 at 50% of traffic (epoch 2)." in said
    many = [effect(n, n / 10, float(n), 0.2) for n in range(1, 7)]
    said = differing({"epochs": {"differ": True, "effects": many}}, Measure())
    assert "over 6 of them from +1.00 at 10% of traffic to +6.00 at 60% of traffic." in said


def test_the_rollouts_page_lists_its_stages_folded_while_they_agree(omar: Browser) -> None:
    page = omar.get(f"/rollouts/{waiting(omar.world)}")
    lists = re.findall(r'<details( open)? id="by-stage-([^"]*)">(.*?)</details>', page, re.DOTALL)
    assert lists
    for opened, name, inside in lists:
        assert opened == ""
        assert f'id="stages-{name}"' not in page
        said = text_of(inside)
        assert "Stage by stage" in said
        assert "of traffic" in said
        assert "the same effect: p" in said or "Too few units in all but one stage" in said


def test_a_plans_page_says_what_it_leaves_unguarded(omar: Browser) -> None:
    plan = omar.world.rollout(waiting(omar.world)).plan
    assert plan is not None
    lines = warnings_of(plan.slot, plan.policy, plan.metrics)
    page = text_of(omar.get(f"/evidence/{plan.sha256}"))
    assert all(line in page for line in lines)
    silent = replace(plan, slot=replace(plan.slot, guardrails=()))
    assert terms_of(silent).warnings == (*warnings_of(silent.slot, plan.policy, plan.metrics),)
    assert "No guardrail has a harm alarm" in terms_of(silent).warnings[0]


def test_a_quantiles_panel_says_how_far_its_levels_may_be_off() -> None:
    desk = Desk(POLICY)
    rollout = desk.started()
    desk.see("on-time", epoch=1, champion=(1000, 0.5), challenger=(1000, 0.6))
    desk.ticks(1)
    with desk.store.reading() as work:
        view = read_view(work, PROJECT, rollout.id)
    metric = next(one for one in view.status["metrics"] if one["key"] == "on-time")
    (comparison,) = metric["comparisons"]
    assert panel_of(view, metric, comparison).resolution == ""
    graded = panel_of(view, {**metric, "relative_error": 0.02326}, comparison)
    assert "2.33% apart" in graded.resolution
