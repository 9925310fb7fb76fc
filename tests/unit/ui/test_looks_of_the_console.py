"""What the stylesheet, the scripts and the templates promise without a browser."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from pathlib import Path
from typing import Final

import pytest

import controller.service.ui as room
from controller.service.ui.static_files import SOURCES, static_files

FOLDER: Final = Path(room.__file__).parent
STATIC: Final = FOLDER / "static"
TEMPLATES: Final = sorted((FOLDER / "templates").rglob("*.html"))
CSS: Final = (STATIC / "console.css").read_text(encoding="utf-8")

TEXT_ON_GROUND: Final = [
    (text, ground)
    for ground in ("--paper", "--surface")
    for text in ("--ink", "--soft", "--champion", "--challenger", "--good", "--care", "--bad")
] + [
    ("--good", "--good-tint"),
    ("--care", "--care-tint"),
    ("--bad", "--bad-tint"),
    ("--challenger", "--busy-tint"),
    ("--quiet", "--quiet-tint"),
    ("--soft", "--quiet-tint"),
    ("--ink", "--good-tint"),
    ("--ink", "--care-tint"),
    ("--ink", "--bad-tint"),
    ("--ink", "--busy-tint"),
    ("--on-main", "--challenger"),
    ("--surface", "--good"),
    ("--surface", "--bad"),
]
LINES_ON_GROUND: Final = [("--edge", "--surface"), ("--edge", "--paper"), ("--focus", "--paper")]


def tokens(scheme: str) -> dict[str, str]:
    light, _, rest = CSS.partition("@media (prefers-color-scheme: dark)")
    dark = rest.partition("/* ---")[0]
    found = dict(re.findall(r"(--[a-z-]+): (#[0-9a-f]{6});", light))
    if scheme == "dark":
        found |= dict(re.findall(r"(--[a-z-]+): (#[0-9a-f]{6});", dark))
    return found


def contrast(one: str, other: str) -> float:
    """WCAG 2.2 contrast ratio of two sRGB colours."""

    def luminance(colour: str) -> float:
        channels = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_and_lines_be_seen(scheme: str) -> None:
    colours = tokens(scheme)
    for text, ground in TEXT_ON_GROUND:
        ratio = contrast(colours[text], colours[ground])
        assert ratio >= 4.5, f"{scheme}: {text} on {ground} has {ratio:.2f}"
    for line, ground in LINES_ON_GROUND:
        ratio = contrast(colours[line], colours[ground])
        assert ratio >= 3.0, f"{scheme}: {line} on {ground} has {ratio:.2f}"


def test_dark_renames_every_colour() -> None:
    light, dark = tokens("light"), tokens("dark")
    same = [name for name in light if light[name] == dark[name]]
    assert not same


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_a_template_has_nothing_that_the_policy_forbids(template: Path) -> None:
    text = template.read_text(encoding="utf-8")
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|hx-on|js:", text)
    assert not re.search(r"<script(?![^>]*\ssrc=)", text), "no script in the page itself"
    assert not re.search(r"(src|href|action)=\"(https?:)?//", text), "nothing comes from elsewhere"
    assert "| safe" not in text
    assert "hx-trigger" not in text or "[" not in re.findall(r'hx-trigger="([^"]*)"', text)[0]


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_every_form_that_changes_something_carries_the_token(template: Path) -> None:
    text = template.read_text(encoding="utf-8")
    forms = re.findall(r'<form[^>]*method="post".*?</form>', text, re.DOTALL)
    for form in forms:
        public = "/login" in form or template.name == "link.html"
        assert public or 'name="csrf_token"' in form


def test_what_is_vendored_is_what_was_vendored() -> None:
    listed = json.loads((STATIC / "vendor" / "VENDOR.json").read_text(encoding="utf-8"))
    for one in listed:
        content = (STATIC / "vendor" / one["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == one["sha256"]
        assert (STATIC / "vendor" / one["licence_file"]).read_text(encoding="utf-8")
    scripts = {path.name for path in (STATIC / "vendor").glob("*.js")}
    assert scripts == {one["file"] for one in listed}


def test_makefile_fetches_the_version_that_is_there() -> None:
    makefile = (FOLDER.parents[2] / "Makefile").read_text(encoding="utf-8")
    listed = json.loads((STATIC / "vendor" / "VENDOR.json").read_text(encoding="utf-8"))
    assert f"HTMX_VERSION := {listed[0]['version']}\n" in makefile


def test_files_are_named_by_their_content_and_small() -> None:
    found = static_files()
    assert set(found) == set(SOURCES)
    for name, one in found.items():
        digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
        assert digest in one.address
        assert gzip.decompress(one.zipped) == one.plain
    assert len(found["console.js"].zipped) <= 8 * 1024
    assert sum(len(one.zipped) for one in found.values()) <= 30 * 1024
