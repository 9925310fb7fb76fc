"""People at work: by keyboard, without script, side by side, and while things change."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from controller.flow.verbs import act
from controller.rollout.states import State
from tests.browser.screenshots import sign_in
from tests.browser.watching import Watch
from tests.browser.world import DANA, PASSWORD, PROJECT, World

pytestmark = pytest.mark.browser


@pytest.fixture
def page(browser: Browser, console: str) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    watch = Watch(home=console)
    yield watch.page(context)
    assert watch.problems == []
    context.close()


def tab_to(page: Page, words: str, most: int = 80) -> None:
    """Presses Tab until what has the focus says these words."""
    for _ in range(most):
        page.keyboard.press("Tab")
        spoken = page.evaluate(
            "() => (document.activeElement.labels?.[0] ?? document.activeElement).textContent"
        )
        if words in spoken:
            return
    raise AssertionError(f"no way by keyboard to {words!r}")


def test_a_promotion_is_read_and_approved_by_keyboard_alone(
    page: Page, console: str, world: World
) -> None:
    page.goto(f"{console}/login")
    page.keyboard.type("omar")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{console}/")
    tab_to(page, "weather-boost 2013.4 in late-flight-alert")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Promote weather-boost 2013.4")
    outline = page.evaluate(
        "() => { document.querySelector('a').focus();"
        " return getComputedStyle(document.activeElement).outlineWidth }"
    )
    assert outline == "3px"
    tab_to(page, "Comment")
    page.keyboard.type("The lead has held since October.")
    tab_to(page, "Approve: promote weather-boost 2013.4")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Your approval is recorded.")).to_be_visible()
    assert world.rollout(world.rollouts["waiting"]).state is State.PROMOTING


def test_everything_works_without_script(browser: Browser, console: str, world: World) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    sign_in(page, console, "omar")
    page.get_by_role("link", name="weather-boost 2013.4 in late-flight-alert").click()
    expect(page.locator(".chart.difference.wide")).to_be_visible()
    expect(page.get_by_role("button", name="Pause live updates")).to_be_hidden()
    page.locator("#table-cost-per-departure-challenger summary").click()
    expect(page.locator("table.looks")).to_be_visible()
    page.get_by_role("link", name="Back to the rollout").click()
    page.get_by_role("link", name="Pause at 100%").click()
    page.get_by_label("Note for the log").fill("Reading first.")
    page.get_by_role("button", name="Pause at 100%").click()
    expect(page.get_by_text("Paused. Nothing will be raised")).to_be_visible()
    expect(page.get_by_text("Reading first.")).to_be_visible()
    context.close()


def test_a_page_follows_what_happens(page: Page, console: str, world: World) -> None:
    rollout = world.rollouts["waiting"]
    sign_in(page, console, "omar")
    page.goto(f"{console}/rollouts/{rollout}")
    page.get_by_text("Every condition and how it stands").click()
    slider = page.get_by_label("Look back")
    slider.focus()
    page.keyboard.press("Home")
    output = page.locator("#panel-cost-per-departure-challenger output")
    expect(output).to_contain_text("Look 2 ·")
    act(world.store, PROJECT, rollout, "pause", actor=DANA, note="Storm.")
    expect(page.get_by_role("heading", name="Held: a person paused it")).to_be_visible()
    expect(page.get_by_role("table").filter(has_text="It changes if")).to_be_visible()
    assert page.evaluate("() => document.activeElement.type") == "range", "the focus stayed"
    expect(output).to_contain_text("Look 2 ·")
    cursor = page.locator(".chart.difference.wide .cursor").first
    expect(cursor).to_have_attribute("visibility", "visible")


def test_live_updates_can_be_stopped(page: Page, console: str, world: World) -> None:
    rollout = world.rollouts["waiting"]
    sign_in(page, console, "omar")
    page.goto(f"{console}/rollouts/{rollout}")
    toggle = page.get_by_role("button", name=re.compile("live updates"))
    toggle.click()
    expect(toggle).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#live-state")).to_contain_text("Paused")
    act(world.store, PROJECT, rollout, "pause", actor=DANA)
    page.wait_for_timeout(3_000)
    expect(page.get_by_role("heading", name="Held:")).to_have_count(0)
    toggle.click()
    expect(page.get_by_role("heading", name="Held:")).to_be_visible()


def test_a_page_in_the_background_asks_nothing(page: Page, console: str, world: World) -> None:
    sign_in(page, console, "omar")
    page.goto(f"{console}/rollouts/{world.rollouts['waiting']}")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate("() => Object.defineProperty(document, 'hidden', {get: () => true})")
    page.wait_for_timeout(4_500)
    assert [url for url in asked if url.endswith("/live")] == []


def test_a_silent_service_is_told_and_what_was_seen_stays(
    browser: Browser, console: str, world: World
) -> None:
    context = browser.new_context()
    page = context.new_page()
    sign_in(page, console, "omar")
    page.goto(f"{console}/rollouts/{world.rollouts['waiting']}")
    sentence = page.locator("#sentence").inner_text()
    page.route("**/live", lambda route: route.abort())
    expect(page.locator("#live-state")).to_contain_text("may be old")
    page.unroute("**/live")
    page.route("**/live", lambda route: route.fulfill(status=503, body="<h1>busy</h1>"))
    page.wait_for_timeout(2_500)
    assert page.locator("#sentence").inner_text() == sentence
    page.unroute("**/live")
    expect(page.locator("#live-state")).to_have_text("")
    context.close()


def test_what_is_being_typed_survives(page: Page, console: str, world: World) -> None:
    rollout = world.rollouts["waiting"]
    sign_in(page, console, "omar")
    page.goto(f"{console}/approvals/{world.open_proposal(rollout)}")
    page.get_by_label("Comment").fill("Half a sentence")
    act(world.store, PROJECT, rollout, "rollback", actor=DANA)
    expect(page.locator("#top")).to_contain_text("Void")
    expect(page.get_by_label("Comment")).to_have_value("Half a sentence")
    expect(page.get_by_role("button", name="Reject")).to_be_hidden()


def test_two_people_at_once(browser: Browser, console: str, world: World) -> None:
    address = f"{console}/approvals/{world.open_proposal(world.rollouts['waiting'])}"
    pages = []
    for name in ("omar", "dana"):
        one = browser.new_context().new_page()
        sign_in(one, console, name)
        one.goto(address)
        pages.append(one)
    omar, dana = pages
    omar.route("**/live", lambda route: route.abort())  # he is faster than the next update
    dana.goto(f"{console}/rollouts/{world.rollouts['waiting']}/actions/rollback")
    dana.get_by_role("button", name="Roll back to logistic 2013.1").click()
    expect(dana.get_by_text("Rolling back: everybody goes back")).to_be_visible()
    omar.get_by_role("button", name="Approve").click()
    expect(omar.get_by_role("alert")).to_contain_text("This proposal is voided")
    assert world.rollout(world.rollouts["waiting"]).state is State.ROLLING_BACK
    for one in pages:
        one.context.close()


def test_an_emergency_takes_two_taps_on_a_telephone(
    browser: Browser, console: str, world: World
) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True)
    page = context.new_page()
    sign_in(page, console, "omar")
    page.goto(f"{console}/rollouts/{world.rollouts['fresh']}")
    page.get_by_role("link", name="Roll back to logistic 2013.1").tap()
    page.get_by_role("button", name="Roll back to logistic 2013.1").tap()
    expect(page.get_by_text("Rolling back: everybody goes back")).to_be_visible()
    assert world.rollout(world.rollouts["fresh"]).state is State.ROLLING_BACK
    context.close()
