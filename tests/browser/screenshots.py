"""Photographs every page of the console: light, dark and narrow.

`make screenshots ARGS=build/screenshots`, or `python -m tests.browser.screenshots FOLDER`.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Page, sync_playwright

from tests.browser.serving import served
from tests.browser.world import PASSWORD, World, furnished

LOOKS: Final[dict[str, dict[str, Any]]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 900}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 900}},
    "narrow": {"color_scheme": "light", "viewport": {"width": 360, "height": 740}},
}


def pages_of(world: World) -> Iterator[tuple[str, str]]:
    """Name and address of every page worth seeing."""
    rollouts = world.rollouts
    proposal = world.open_proposal(rollouts["waiting"])
    evidence = world.rollout(rollouts["waiting"]).look_sha256
    yield "rollouts", "/"
    for name, rollout in rollouts.items():
        yield f"rollout-{name}", f"/rollouts/{rollout}"
    yield "confirm-rollback", f"/rollouts/{rollouts['waiting']}/actions/rollback"
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


def photograph(folder: Path, wanted: str = "") -> None:
    """Write one picture of every page in every look whose name holds `wanted`."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("No Chromium here; on Debian: apt-get install chromium")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as data, sync_playwright() as playwright:
        world = furnished(Path(data))
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--disable-dev-shm-usage"]
        )
        with served(world, Path(data)) as address:
            for look, options in LOOKS.items():
                page = browser.new_context(**options).new_page()
                if not wanted or wanted in f"login-{look}":
                    page.goto(f"{address}/login")
                    page.screenshot(path=folder / f"login-{look}.png", full_page=True)
                sign_in(page, address, "omar")
                for name, path in pages_of(world):
                    if wanted in f"{name}-{look}":
                        page.goto(address + path)
                        page.screenshot(path=folder / f"{name}-{look}.png", full_page=True)
        browser.close()
        world.close()


def sign_in(page: Page, address: str, name: str) -> None:
    """Through the form, as a person would."""
    page.goto(f"{address}/login")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{address}/")


if __name__ == "__main__":
    photograph(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("build/screenshots"), *sys.argv[2:])
