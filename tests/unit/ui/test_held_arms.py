"""Which arm's outcomes are missing, in the headline and beside each comparison."""

from __future__ import annotations

from controller.service.ui import words
from controller.service.ui.answer import box_of
from controller.service.ui.panels import panels_of
from controller.service.ui.view import read_view
from tests.unit.flow.desk import CHALLENGER, PROJECT, STEPS, Desk

OTHER = {"name": "forest", "version": "2"}
ARMS = ("champion", "challenger-1", "challenger-2")


def test_the_page_names_the_arm_that_holds_the_others() -> None:
    desk = Desk({"ramp": STEPS[:1], "oec": {"horizon": 10_000}})
    rollout = desk.started(challengers=[CHALLENGER, OTHER])
    desk.see("on-time", epoch=1, **dict.fromkeys(ARMS, (1000, 0.5)))
    silent = dict.fromkeys(ARMS, (1000, 0.3)) | {"challenger-2": (1000, 0.0)}
    desk.see("complaints", epoch=1, **silent)
    desk.ticks(2)
    with desk.store.reading() as work:
        view = read_view(work, PROJECT, rollout.id)
    panels = panels_of(view)
    box = box_of(view, panels)
    said = "challenger-2 (forest 2) has stopped reporting outcomes"
    assert box.title == f"Hold: {said}"
    assert box.why[0] == f"{said[0].upper()}{said[1:]}."
    assert any("challenger-2 is given up" in one.flip for one in box.flips)
    reasons = {(one.metric, one.arm): one.reason for one in panels}
    assert reasons["complaints", "challenger-2"] == "challenger-2 has stopped reporting outcomes"
    assert "stopped" not in reasons["complaints", "challenger-1"]


def test_a_reason_without_an_arm_stays_as_it_is() -> None:
    assert words.held("stale", []) == words.reason("stale")
    assert words.held("arm_silent", []) == words.reason("arm_silent")
    latched = {"arm": "challenger", "reason": "boundary_crossed"}
    metric = {"held": {"challenger": {"reason": "arm_silent", "cause": "challenger"}}}
    assert words.why(metric, latched) == words.reason("boundary_crossed")
