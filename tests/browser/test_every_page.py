"""Every page in a real Chromium: nothing refused, nothing fetched elsewhere, nothing cut off."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, ViewportSize

from tests.browser.screenshots import pages_of, sign_in
from tests.browser.watching import ACCESSIBILITY, OVERFLOW, Watch
from tests.browser.world import World

pytestmark = pytest.mark.browser

WIDE: ViewportSize = {"width": 1280, "height": 900}
MODES: dict[str, dict[str, Any]] = {
    "light": {"viewport": WIDE, "color_scheme": "light"},
    "dark": {"viewport": WIDE, "color_scheme": "dark"},
    "narrow": {"viewport": {"width": 360, "height": 740}},
    "large text": {"viewport": {"width": 320, "height": 640}, "device_scale_factor": 4},
    "forced colours": {"viewport": WIDE, "forced_colors": "active"},
}
HEAVY = {"rollouts", "rollout-promoted", "approval", "audit"}
"""The pages with the most on them; the others are parts of these."""
MOST_TRANSFERRED = 90 * 1024
MOST_DOCUMENT = 25 * 1024


@pytest.fixture(params=MODES)
def watched(
    request: pytest.FixtureRequest, browser: Browser, console: str
) -> Iterator[tuple[Page, Watch]]:
    context = browser.new_context(**MODES[request.param])
    watch = Watch(home=console)
    yield watch.page(context), watch
    context.close()


def test_every_page_is_clean_whole_and_named(
    watched: tuple[Page, Watch], console: str, world: World
) -> None:
    page, watch = watched
    page.goto(f"{console}/login")
    assert page.evaluate(ACCESSIBILITY) == []
    sign_in(page, console, "admin")
    for name, path in pages_of(world):
        page.goto(console + path)
        assert page.evaluate(ACCESSIBILITY) == [], name
        assert page.evaluate(OVERFLOW) == [], name
        expected = [one for one in watch.problems if "404" in one and name == "refusal"]
        assert watch.problems == expected, name
        watch.problems.clear()


def test_a_page_is_light(browser: Browser, console: str, world: World) -> None:
    context = browser.new_context(viewport=WIDE)
    watch = Watch(home=console)
    sign_in(watch.page(context), console, "omar")
    for name, path in pages_of(world):
        if name not in HEAVY:
            continue
        fresh = browser.new_context(viewport=WIDE, storage_state=context.storage_state())
        page = watch.page(fresh)
        watch.measure(page)
        watch.bytes_received = 0
        answer = page.goto(console + path, wait_until="load")
        assert answer is not None
        document = len(gzip.compress(answer.body(), 9))
        assert document <= MOST_DOCUMENT, f"{name}: {document} bytes of HTML"
        assert 0 < watch.bytes_received <= MOST_TRANSFERRED, f"{name}: {watch.bytes_received} bytes"
        fresh.close()
    context.close()


def test_on_paper_there_are_no_buttons(browser: Browser, console: str, world: World) -> None:
    context = browser.new_context(viewport=WIDE)
    page = context.new_page()
    sign_in(page, console, "omar")
    page.goto(f"{console}/rollouts/{world.rollouts['waiting']}")
    page.emulate_media(media="print")
    assert not page.get_by_role("link", name="Roll back").is_visible()
    assert page.locator("#sentence").is_visible()
    assert page.locator(".chart.difference.wide").first.is_visible()
    context.close()


def test_grey_still_tells_states_apart(browser: Browser, console: str) -> None:
    context = browser.new_context(viewport=WIDE)
    page = context.new_page()
    sign_in(page, console, "omar")
    badges = page.locator(".rollouts .badge").all_inner_texts()
    assert len(set(badges)) == len(badges) >= 4, "each state has its own glyph and word"
    context.close()
