"""What a page does behind one's back, and what it shows to those who cannot see it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request

ACCESSIBILITY = """() => {
  const wrong = [];
  const visible = (one) => one.checkVisibility && one.checkVisibility();
  const name = (one) => {
    const by = one.getAttribute("aria-labelledby");
    if (by) return by.split(" ").map((id) => document.getElementById(id)?.textContent).join(" ");
    const label = one.labels && one.labels.length ? one.labels[0].textContent : "";
    return (one.getAttribute("aria-label") || label || one.textContent || one.alt || "").trim();
  };
  const named = "a, button, input:not([type=hidden]), select, textarea, summary, [role=img]";
  for (const one of document.querySelectorAll(`${named}, [role=region]`))
    if (visible(one) && !name(one)) wrong.push("no name: " + one.outerHTML.slice(0, 120));
  for (const one of document.querySelectorAll("img"))
    if (!one.hasAttribute("alt")) wrong.push("no alt: " + one.outerHTML.slice(0, 120));
  const targets = "button, a.button, input:not([type=hidden]), select, summary";
  for (const one of document.querySelectorAll(targets)) {
    const box = one.getBoundingClientRect();
    if (visible(one) && (box.width < 24 || box.height < 24))
      wrong.push(`target of ${box.width}x${box.height}: ` + one.outerHTML.slice(0, 100));
  }
  let level = 0;
  for (const one of document.querySelectorAll("h1, h2, h3, h4")) {
    if (!visible(one)) continue;
    const now = Number(one.tagName[1]);
    if (now > level + 1) wrong.push(`heading ${one.tagName} after h${level}: ${one.textContent}`);
    level = now;
  }
  for (const one of document.querySelectorAll("table"))
    if (!one.querySelector("th[scope]")) wrong.push("a table without headers");
  for (const one of document.querySelectorAll("[tabindex]"))
    if (one.tabIndex > 0) wrong.push("a forced tab order: " + one.outerHTML.slice(0, 100));
  for (const one of document.querySelectorAll(".scroll"))
    if (one.scrollWidth > one.clientWidth && one.tabIndex < 0)
      wrong.push("scrolls but cannot be reached by keyboard");
  for (const landmark of ["main"])
    if (document.querySelectorAll(landmark).length !== 1) wrong.push("not one " + landmark);
  if (!document.title) wrong.push("no title");
  return wrong;
}"""

OVERFLOW = """() => {
  const wide = document.documentElement.clientWidth;
  const out = [...document.querySelectorAll("body *")].filter((one) => {
    if (one.closest(".scroll, .unseen, pre, .skip") && !one.matches(".scroll")) return false;
    return one.checkVisibility() && one.getBoundingClientRect().right > wide + 1;
  });
  const scrolls = document.documentElement.scrollWidth > wide;
  return scrolls ? out.slice(0, 5).map((one) => one.outerHTML.slice(0, 120)).concat("scrolls") : [];
}"""


CUT = """() => [...document.querySelectorAll(".scroll:has(> .cards)")]
  .filter((one) => one.checkVisibility() && one.scrollWidth > one.clientWidth + 1)
  .map((one) => one.getAttribute("aria-label"))"""


FAINT = """() => {
  if (matchMedia("(forced-colors: active)").matches) return [];
  const paint = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = (colour) => {
    paint.clearRect(0, 0, 1, 1);
    paint.fillStyle = colour;
    paint.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = paint.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3]));
  const light = (colour) => {
    const [r, g, b] = colour.map((one) => one / 255)
      .map((one) => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (one) => {
    const layers = [];
    for (let at = one; at; at = at.parentElement)
      layers.push(rgba(getComputedStyle(at).backgroundColor));
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const canvas = Array(3).fill(dark ? 18 : 255);
    return layers.reverse().reduce((below, top) => over(top, below), canvas);
  };
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const one = walk.currentNode.parentElement;
    if (!walk.currentNode.textContent.trim() || !one.checkVisibility()) continue;
    if (one.closest("script, style, .unseen, .skip, [disabled], [aria-disabled=true]")) continue;
    const style = getComputedStyle(one);
    const below = behind(one);
    const ink = over(rgba(one.closest("svg") ? style.fill : style.color), below);
    const [high, low] = [light(ink), light(below)].sort((a, b) => b - a);
    const ratio = (high + 0.05) / (low + 0.05);
    const text = walk.currentNode.textContent.trim().slice(0, 60);
    if (ratio < 4.5) found.push(`${ratio.toFixed(2)}: ${text}`);
  }
  return [...new Set(found)].slice(0, 8);
}"""
"""Texts whose contrast with what is painted behind them is below 4.5 to 1 (WCAG 2.2, 1.4.3)."""


@dataclass
class Watch:
    """Everything that should not have happened in a browser context."""

    home: str
    problems: list[str] = field(default_factory=list)
    bytes_received: int = 0

    def page(self, context: BrowserContext) -> Page:
        """A page that is being watched."""
        context.add_init_script(
            "document.addEventListener('securitypolicyviolation', (event) => "
            "console.error('CSP ' + event.violatedDirective + ' ' + event.blockedURI))"
        )
        page = context.new_page()
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.problems.append(f"script: {error}"))
        page.on("request", self._request)
        return page

    def measure(self, page: Page) -> None:
        """Count the bytes that really come over the wire from now on."""
        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        session.on("Network.loadingFinished", self._loaded)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"{message.type}: {message.text}")

    def _request(self, request: Request) -> None:
        if urlsplit(request.url).netloc != urlsplit(self.home).netloc:
            self.problems.append(f"external: {request.url}")

    def _loaded(self, event: dict[str, Any]) -> None:
        self.bytes_received += int(event["encodedDataLength"])
