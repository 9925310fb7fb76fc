"""Photographs every page of the console: light, dark and narrow.

`make screenshots ARGS=build/screenshots`, or `python -m tests.browser.screenshots FOLDER [NAME]`:
with a name, the pages whose name holds it.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Page, sync_playwright

from controller.service.http.sessions import CONFIRM_AFTER
from tests.browser.corners import corner_pages, corners, empty_pages, nothing_yet
from tests.browser.serving import served
from tests.browser.world import PASSWORD, World, furnished

LOOKS: Final[dict[str, dict[str, Any]]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 900}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 900}},
    "narrow": {"color_scheme": "light", "viewport": {"width": 360, "height": 740}},
}
Pages = Callable[[World], Iterator[tuple[str, str]]]


def pages_of(world: World) -> Iterator[tuple[str, str]]:
    """Name and address of every page worth seeing."""
    rollouts = world.rollouts
    proposal = world.open_proposal(rollouts["waiting"])
    evidence = world.rollout(rollouts["waiting"]).look_sha256
    yield "rollouts", "/"
    for name, rollout in rollouts.items():
        yield f"rollout-{name}", f"/rollouts/{rollout}"
    for verb in ("rollback", "pause", "promote"):
        yield f"confirm-{verb}", f"/rollouts/{rollouts['waiting']}/actions/{verb}"
    yield "confirm-undo", f"/rollouts/{rollouts['promoted']}/actions/undo"
    yield "approvals", "/approvals"
    yield "approval", f"/approvals/{proposal}"
    yield "slots", "/slots"
    yield "kill", "/slots/late-flight-alert/kill"
    yield "overrides", "/slots/late-flight-alert/overrides"
    yield "reach", "/reach"
    yield "audit", "/audit/verify"
    yield "evidence", f"/evidence/{evidence}"
    yield "operators", "/operators"
    yield "setup", "/setup"
    yield "refusal", "/rollouts/r-unknown"


WORLDS: Final[tuple[tuple[Callable[[Path | None], World], Pages, str], ...]] = (
    (furnished, pages_of, "omar"),
    (corners, corner_pages, "admin"),
    (nothing_yet, empty_pages, "admin"),
)
"""What is looked at, and by whom."""


def photograph(folder: Path, wanted: str = "") -> None:
    """Write one picture of every page in every look whose name holds `wanted`."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("No Chromium here; on Debian: apt-get install chromium")
    camera = Camera(folder=folder, wanted=wanted)
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--disable-dev-shm-usage"]
        )
        for furnish, pages, name in WORLDS:
            with tempfile.TemporaryDirectory() as data:
                world = furnish(Path(data))
                with served(world, Path(data)) as address:
                    for look, options in LOOKS.items():
                        page = browser.new_context(**options).new_page()
                        sign_in(page, address, name)
                        for shown in every_picture(page, address, world, pages):
                            camera.take(page, f"{shown}-{look}")
                        page.context.close()
                world.close()
        browser.close()


@dataclass(frozen=True, kw_only=True)
class Camera:
    """Takes the pictures whose names hold `wanted`."""

    folder: Path
    wanted: str

    def take(self, page: Page, name: str) -> None:
        """The whole page as it stands."""
        if self.wanted in name:
            page.screenshot(path=self.folder / f"{name}.png", full_page=True)


def every_picture(page: Page, address: str, world: World, pages: Pages) -> Iterator[str]:
    """Go from page to page; the name of each."""
    for name, path in pages(world):
        page.goto(address + path)
        yield name
    if pages is pages_of:
        yield from at_the_door(page, address, world)


def at_the_door(page: Page, address: str, world: World) -> Iterator[str]:
    """Wherever a password is asked for, one after the other: the name of what the page shows."""
    world.clock.behind -= CONFIRM_AFTER
    page.goto(f"{address}/approvals/{world.open_proposal(world.rollouts['waiting'])}")
    yield "approval-password"
    page.get_by_label("Your password").fill("a wrong one")
    page.get_by_role("button", name="Approve").click()
    yield "approval-password-wrong"
    page.context.clear_cookies()
    world.clock.behind += CONFIRM_AFTER
    page.goto(f"{address}/login")
    yield "login"
    page.get_by_label("Name").fill("omar")
    page.get_by_label("Password").fill("a wrong one")
    page.get_by_role("button", name="Sign in").click()
    yield "login-wrong"
    sign_in(page, address, "admin")
    world.clock.behind -= CONFIRM_AFTER
    page.goto(f"{address}/operators")
    yield "operators-password"
    world.clock.behind = timedelta(0)
    page.goto(f"{address}/link/{'0' * 40}")
    yield "link"


def sign_in(page: Page, address: str, name: str) -> None:
    """Through the form, as a person would."""
    page.goto(f"{address}/login")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{address}/")


if __name__ == "__main__":
    photograph(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("build/screenshots"), *sys.argv[2:])
