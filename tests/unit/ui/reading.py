"""Reading a page of the console: its words, what a pattern finds, and where every page is."""

from __future__ import annotations

import html
import re

from tests.browser.world import World
from tests.unit.ui.conftest import Browser


def text_of(page: str) -> str:
    """What a person reads: no tags, one space between words."""
    without = re.sub(r"<[^>]+>", " ", page)
    return " ".join(html.unescape(without).split())


def found(pattern: str, text: str) -> str:
    """The first group of a pattern that must be there, or all of it."""
    match = re.search(pattern, text, re.DOTALL)
    assert match is not None, pattern
    return match.group(match.lastindex or 0)


def waiting(world: World) -> str:
    return world.rollouts["waiting"]


def every_page(browser: Browser) -> list[str]:
    world = browser.world
    rollout = waiting(world)
    return [
        "/",
        f"/rollouts/{rollout}",
        f"/rollouts/{world.rollouts['clicks']}",
        f"/rollouts/{rollout}/actions/rollback",
        "/approvals",
        f"/approvals/{world.open_proposal(rollout)}",
        "/slots",
        "/slots/late-flight-alert/kill",
        "/slots/late-flight-alert/overrides",
        "/reach",
        "/audit",
        "/audit/verify",
        f"/audit?object=rollout/{rollout}",
        f"/evidence/{world.rollout(rollout).look_sha256}",
        "/operators",
        "/setup",
        "/setup?slot=recommendation",
    ]
