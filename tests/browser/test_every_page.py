"""Every page in a real Chromium: nothing refused, nothing fetched elsewhere, nothing cut off."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from tests.browser.corners import corner_pages, empty_pages
from tests.browser.screenshots import at_the_door, pages_of, sign_in
from tests.browser.watching import ACCESSIBILITY, CUT, FAINT, OVERFLOW, Watch
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
        assert page.evaluate(FAINT) == [], name
        assert not is_narrow(page) or page.evaluate(CUT) == [], name
        expected = [one for one in watch.problems if "404" in one and name == "refusal"]
        assert watch.problems == expected, name
        watch.problems.clear()


@pytest.mark.parametrize("mode", MODES)
def test_odd_and_empty_pages_are_clean_whole_and_named(
    browser: Browser,
    odd_console: tuple[str, World],
    empty_console: tuple[str, World],
    mode: str,
) -> None:
    for (address, world), pages in ((odd_console, corner_pages), (empty_console, empty_pages)):
        context = browser.new_context(**MODES[mode])
        watch = Watch(home=address)
        page = watch.page(context)
        sign_in(page, address, "admin")
        for name, path in pages(world):
            page.goto(address + path)
            assert page.evaluate(ACCESSIBILITY) == [], name
            assert page.evaluate(OVERFLOW) == [], name
            assert page.evaluate(FAINT) == [], name
            assert not is_narrow(page) or page.evaluate(CUT) == [], name
            assert watch.problems == [], name
        context.close()


def is_narrow(page: Page) -> bool:
    assert page.viewport_size is not None
    return page.viewport_size["width"] <= 360


def test_a_telephone_shows_the_header_in_two_rows(browser: Browser, console: str) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740})
    page = context.new_page()
    sign_in(page, console, "omar")
    tops = page.evaluate(
        "() => [...document.querySelectorAll('.bar nav li')]"
        ".map((one) => one.getBoundingClientRect().top)"
    )
    assert len(tops) == 6
    assert len(set(tops)) == 1, "the whole navigation in one row"
    context.close()


def test_a_printed_page_is_whole(browser: Browser, console: str, world: World) -> None:
    context = browser.new_context(viewport=WIDE)
    page = context.new_page()
    sign_in(page, console, "omar")
    page.goto(f"{console}/approvals/{world.open_proposal(world.rollouts['waiting'])}")
    page.emulate_media(media="print")
    expect(page.locator("#decide")).to_be_hidden()
    breaks = page.locator(".card").first.evaluate("(one) => getComputedStyle(one).breakInside")
    assert breaks == "auto", "a card longer than a sheet would leave the sheet before it empty"
    colours = page.locator(".key.band").first.evaluate(
        "(one) => getComputedStyle(one, '::before').printColorAdjust"
    )
    assert colours == "exact"
    context.close()


def test_nothing_stands_alone_on_a_line(browser: Browser, console: str, world: World) -> None:
    context = browser.new_context(viewport=WIDE)
    page = context.new_page()
    sign_in(page, console, "omar")
    page.goto(f"{console}/rollouts/{world.rollouts['waiting']}")
    display = page.locator(".act > p.hint").last.evaluate("(one) => getComputedStyle(one).display")
    assert display == "block", "or the full stop after a link becomes a line"
    context.close()


def test_faint_text_would_be_found(browser: Browser) -> None:
    context = browser.new_context(color_scheme="light")
    page = context.new_page()
    page.set_content(
        "<main style='background:#fff'><p style='color:#777'>just too faint</p>"
        "<p style='color:#767676'>just enough</p>"
        "<p style='color:#0006'>half <b style='color:#000'>seen</b></p></main>"
    )
    assert page.evaluate(FAINT) == ["4.48: just too faint", "2.85: half"]
    context.close()


def test_a_wrong_password_is_told_where_it_is_typed(
    browser: Browser, console: str, world: World
) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740})
    page = context.new_page()
    sign_in(page, console, "omar")
    seen = []
    for name in at_the_door(page, console, world):
        assert page.evaluate(ACCESSIBILITY) == [], name
        assert page.evaluate(OVERFLOW) == [], name
        seen.append(name)
        if name == "approval-password-wrong":
            expect(page.get_by_label("Your password")).to_be_focused()
            expect(page.get_by_role("alert")).to_be_in_viewport()
        if name == "login-wrong":
            expect(page.get_by_label("Password")).to_be_focused()
            expect(page.get_by_label("Name")).to_have_value("omar")
    assert "operators-password" in seen
    context.close()


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
