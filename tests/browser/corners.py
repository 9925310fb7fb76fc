"""A world of odd cases: what few people see, and what has to hold when they do.

Several challengers of which one was given up, names that are long, right to left or all emoji, a
slot that is killed, a metric nobody hears from, a proposal that became void, a draft, units kept
out; and, in a world of its own, an installation in which nothing has happened yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from controller.flow.bootstrap import seed_policies
from controller.flow.create import create_rollout
from controller.flow.define import put_slot
from controller.flow.holdouts import put_holdout
from controller.flow.kill import kill
from controller.flow.layers import put_layer
from controller.flow.overrides import set_override
from controller.flow.verbs import act
from tests.browser.world import (
    ADMIN,
    ALIKE,
    BETTER,
    DANA,
    LOGISTIC,
    PROJECT,
    WEATHER,
    Feed,
    World,
    define,
    flight_costs,
)

LONG: Final = (
    "gradient-boosted-weather-and-crew-and-connection-model-with-a-name-that-somebody-generated"
    "-from-its-whole-configuration-v2"
)
HEBREW: Final = "מודל-עיכובים"
EMOJI: Final = "🛫🌩️👩🏽‍✈️"
NORTH: Final = {"attribute": "region", "op": "eq", "value": "north"}
SPARE: Final = {
    "champion": LOGISTIC,
    "unit": "departure",
    "oec": {"metric": "cost-per-departure"},
    "guardrails": [{"metric": "costly-departures", "margin": 0.03}],
    "policy": "flights",
}


def corners(folder: Path | None) -> World:
    """Every odd case at once, each in a slot of its own."""
    world = World(folder)
    world.people()
    world.clock.behind = timedelta(hours=8)
    define(world)
    for key, description in {
        "two-challengers": "Two models at once",
        "l" * 64: f"{LONG} {LONG}",
        "right-to-left": f"{HEBREW} {EMOJI}",
        "silent": "Nobody reports its outcomes any more",
        "voided": "Somebody went back while others decided",
        "draft": "Not yet submitted",
    }.items():
        put_slot(world.store, PROJECT, {**SPARE, "description": description}, key=key, actor=ADMIN)
    _several(world)
    for name, slot, model in (
        ("long", "l" * 64, {"name": LONG, "version": "2026.11.23-" + "9" * 109}),
        ("right-to-left", "right-to-left", {"name": f"{HEBREW} {EMOJI}", "version": "٢"}),
    ):
        rollout = world.ask(name, slot, model, flight_costs(BETTER, seed=11))
        world.live(rollout, passes=8, minutes=4, units=1500)
    _silent(world)
    killed = world.ask("killed", "crew-planning", WEATHER, flight_costs(ALIKE, seed=13))
    world.live(killed, passes=8, minutes=3, units=1500)
    _voided(world)
    _kept_out(world)
    world.rollouts["draft"] = create_rollout(
        world.store, PROJECT, slot="draft", challengers=[WEATHER], actor=DANA
    ).id
    world.clock.behind = timedelta(0)
    kill(world.store, PROJECT, "crew-planning", note="The feed is down.", actor=DANA)
    return world


def nothing_yet(folder: Path | None) -> World:
    """Only people and the shipped policies: what a new installation looks like."""
    world = World(folder)
    world.people()
    seed_policies(world.store)
    return world


def corner_pages(world: World) -> Iterator[tuple[str, str]]:
    """Name and address of every page of the odd cases."""
    rollouts = world.rollouts
    for name, rollout in rollouts.items():
        yield f"rollout-{name}", f"/rollouts/{rollout}"
    yield "rollouts-odd", "/"
    yield "edit", f"/rollouts/{rollouts['several']}/actions/edit"
    yield "edit-not-now", f"/rollouts/{rollouts['draft']}/actions/edit"
    yield "confirm-submit", f"/rollouts/{rollouts['draft']}/actions/submit"
    yield "confirm-long", f"/rollouts/{rollouts['long']}/actions/rollback"
    with world.store.reading() as work:
        (voided,) = work.approvals.list(PROJECT, rollout=rollouts["voided"])
    yield "approval-voided", f"/approvals/{voided.id}"
    yield "approvals-odd", "/approvals"
    yield "reach-odd", "/reach"
    yield "overrides-odd", "/slots/two-challengers/overrides"
    yield "slots-odd", "/slots"
    yield "kill-odd", "/slots/crew-planning/kill"
    yield "plan", f"/evidence/{world.rollout(rollouts['several']).frozen_plan.sha256}"
    yield "evidence-odd", f"/evidence/{world.rollout(rollouts['silent']).look_sha256}"
    yield "setup-odd", f"/setup?slot={'l' * 64}"
    yield "audit-odd", f"/audit?object=rollout/{rollouts['several']}"
    yield "audit-nothing", "/audit?object=rollout/r-unknown"


def empty_pages(_world: World) -> Iterator[tuple[str, str]]:
    """Name and address of the pages of an installation where nothing has happened."""
    for name in ("", "approvals", "slots", "reach", "audit", "operators", "setup"):
        yield f"empty-{name or 'rollouts'}", f"/{name}"


def _several(world: World) -> None:
    """Two challengers; one is given up, who may take part changes, and one leads."""
    models = [{**WEATHER, "version": version} for version in ("2013.4", "2013.5-wide")]
    draft = create_rollout(
        world.store, PROJECT, slot="two-challengers", challengers=models, actor=DANA,
        hypothesis="One of the two costs less.",
    )  # fmt: skip
    draw = flight_costs(BETTER, seed=17)
    world.feeds[draft.id] = Feed(metrics=("cost-per-departure", "costly-departures"), draw=draw)
    act(world.store, PROJECT, draft.id, "submit", actor=DANA, if_match=draft.generation)
    world.rollouts["several"] = draft.id
    world.live(draft.id, passes=7, minutes=4, units=2200)
    _edit(world, draft.id, eligible=NORTH, note="Only the north has the new radar.")
    world.live(draft.id, passes=2, minutes=4, units=2200)
    kept = {"champion": 0.7, "challenger-1": 0.3, "challenger-2": 0}
    _edit(world, draft.id, weights=kept, note="Too dear to run.")
    world.live(draft.id, passes=4, minutes=4, units=2200)


def _edit(world: World, rollout: str, *, note: str, **edits: Any) -> None:
    act(
        world.store, PROJECT, rollout, "edit", actor=DANA,
        if_match=world.rollout(rollout).generation, note=note, edits=edits,
    )  # fmt: skip


def _silent(world: World) -> None:
    """Its metrics were fresh once; for hours nobody has reported anything."""
    rollout = world.ask("silent", "silent", WEATHER, flight_costs(ALIKE, seed=19))
    world.live(rollout, passes=8, minutes=4, units=1500)
    world.feeds[rollout] = replace(world.feeds[rollout], age_seconds=5 * 3600.0)
    world.live(rollout, passes=2, minutes=4, units=0)


def _voided(world: World) -> None:
    rollout = world.ask("voided", "voided", WEATHER, flight_costs(BETTER, seed=7))
    world.live(rollout, passes=16, minutes=6, units=4000)
    world.approve(rollout, "ruth")
    act(world.store, PROJECT, rollout, "rollback", actor=DANA, note="The radar moves tomorrow.")
    world.live(rollout, passes=2, minutes=1, units=0)


def _kept_out(world: World) -> None:
    shares: Mapping[str, Any] = {"late-flight-alert": 0.5, "hotel-vouchers": 0.25}
    layer = {"unit": "departure", "slots": shares, "description": "Passengers hear one thing."}
    put_layer(world.store, PROJECT, layer, name="passenger-messages", actor=ADMIN)
    holdout = {"unit": "departure", "share": 0.05, "description": "What a year of models is worth."}
    put_holdout(world.store, PROJECT, holdout, name="everything", actor=ADMIN)
    for unit in ("UA-17-2013-11-23", "לילה 🌙", "u" * 256):
        set_override(world.store, PROJECT, "two-challengers", unit, "challenger-1", actor=ADMIN)
