"""The list and the page of one rollout as HTML, read without script."""

from __future__ import annotations

import gzip
import html
import re

import pytest

from controller.flow.status import status_document
from tests.browser.world import PROJECT
from tests.unit.ui.conftest import Browser, approve
from tests.unit.ui.reading import every_page, found, text_of, waiting

# ---------------------------------------------------------------- the list


def test_the_list_puts_what_needs_somebody_first(omar: Browser) -> None:
    page = omar.get("/")
    assert page.index("Needs you") < page.index("Live") < page.index("At rest")
    assert f'href="/rollouts/{waiting(omar.world)}"' in page
    assert "Champion kept" in text_of(page)
    assert 'class="pill">1' in page, "the navigation counts open proposals"
    assert omar.get("/approvals/waiting").strip() in page


def test_who_has_voted_is_not_asked_again(omar: Browser) -> None:
    approve(omar.world, "omar")
    page = omar.get("/")
    assert "Needs you" not in page
    assert 'class="pill"' not in page
    assert 'hx-get="/approvals/waiting"' in page, "the count follows what happens"
    assert omar.get("/approvals/waiting").strip() == ""


def test_the_list_can_be_searched_and_says_when_it_is_empty(omar: Browser) -> None:
    assert "weather-boost" not in omar.get("/?find=thompson")
    nothing = text_of(omar.get("/?find=no-such-thing"))
    assert "Nothing is being rolled out" in nothing


def test_an_unknown_parameter_is_refused_with_a_page(omar: Browser) -> None:
    page = omar.get("/?nonsense=1", status=422)
    assert "<h1>" in page
    assert "unknown_field" in page


# ---------------------------------------------------------------- one rollout


def test_everything_on_a_page_agrees_with_the_status_document(omar: Browser) -> None:
    rollout = waiting(omar.world)
    page = omar.get(f"/rollouts/{rollout}")
    with omar.world.store.reading() as work:
        document = status_document(work, PROJECT, rollout)
    status = document["status"]
    shown = text_of(page)
    assert status["sentence"] in shown
    metric = status["metrics"][0]
    comparison = metric["comparisons"][0]
    tile = text_of(found(r'id="estimate-[^"]*">(.*?)</dd>', page))
    interval = text_of(found(r'id="interval-[^"]*">(.*?)</dd>', page))
    decimals = len(tile.partition(".")[2])
    assert float(tile.replace("−", "-")) == round(comparison["estimate"], decimals)
    ends = [float(end) for end in interval.replace("−", "-").split(" to ")]
    assert ends == [round(comparison["interval"][side], decimals) for side in ("low", "high")]
    size = tile.lstrip("+−")
    assert f"is {size} lower ({interval})" in status["sentence"]
    rows = re.findall(r"<tr data-look.*?</tr>", page, re.DOTALL)
    last = [text_of(cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", rows[-1])]
    assert last[0] == str(status["verdict"]["look"])
    assert last[2].replace(",", "") == str(sum(arm["n"] for arm in metric["arms"].values()))
    assert last[3:5] == [tile, interval]
    spoken = html.unescape(found(r'class="chart difference wide"[^>]*aria-label="([^"]*)"', page))
    assert f"now {tile}, interval {interval}." in spoken
    assert f"{tile} ({interval})" in text_of(page[page.index('id="verdict"') :])
    assert f'href="/evidence/{status["verdict"]["evidence_sha256"]}"' in page


def test_the_two_charts_and_the_table_show_the_same_looks(omar: Browser) -> None:
    page = omar.get(f"/rollouts/{waiting(omar.world)}")
    figure = found(r'<figure class="history".*?</figure>', page)
    rows = re.findall(r'<tr data-look="(\d+)" data-f="([\d.]+)"', figure)
    wide = found(r'<svg class="chart difference wide".*?</svg>', figure)
    line = found(r'<path d="([^"]*)" class="estimate"', wide)
    left, right = (float(found(f'data-{side}="(\\d+)"', wide)) for side in ("left", "right"))
    xs = [float(x) for x, _ in re.findall(r"(-?[\d.]+) (-?[\d.]+)", line)]
    assert len(xs) == len(rows)
    for x, (_, along) in zip(xs, rows, strict=True):
        assert abs(left + float(along) * (right - left) - x) < 0.2


def test_the_excursion_is_told_in_words_and_marked(omar: Browser) -> None:
    page = omar.get(f"/rollouts/{omar.world.rollouts['clicks']}")
    shown = text_of(page)
    assert "Why an early lead did not decide." in shown
    assert "would have called the challenger better" in shown
    assert re.search(r"its time was over at 2[0-9.]+% of the planned evidence", shown)
    assert 'class="peeked"' in page
    assert "No difference was shown, so the champion stays" in shown


def test_jargon_lies_under_details(omar: Browser) -> None:
    page = omar.get(f"/rollouts/{waiting(omar.world)}")
    before = text_of(re.sub(r"<details.*?</details>", "", page, flags=re.DOTALL)).lower()
    for word in ("allocation", "epoch", "alpha", "e-value", "pin ", "sha256"):
        assert word not in before, word


def test_a_live_part_costs_nothing_while_nothing_changes(omar: Browser) -> None:
    path = f"/rollouts/{waiting(omar.world)}/live"
    first = omar.client.get(path, headers={"Accept-Encoding": "gzip"})
    assert first.headers["Content-Encoding"] == "gzip"
    body = gzip.decompress(first.data).decode()
    assert "csrf_token" not in body, "no secret in a compressed answer"
    assert body.strip() in omar.get(f"/rollouts/{waiting(omar.world)}")
    second = omar.client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (second.status_code, second.data) == (304, b"")


def test_a_token_is_never_compressed_beside_what_others_may_choose(omar: Browser) -> None:
    zipped = omar.client.get("/audit", headers={"Accept-Encoding": "gzip"})
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert b"csrf_token" in gzip.decompress(zipped.data)
    for path in ("/?find=guess", "/audit?object=guess", "/setup?slot=guess"):
        plain = omar.client.get(path, headers={"Accept-Encoding": "gzip"})
        assert "Content-Encoding" not in plain.headers, path
    address = f"/rollouts/{waiting(omar.world)}/actions/unknown"
    assert "Content-Encoding" not in omar.client.get(address).headers


def test_a_page_has_one_heading_landmarks_and_no_inline_code(omar: Browser) -> None:
    for path in every_page(omar):
        page = omar.get(path)
        assert page.count("<h1") == 1, path
        assert page.count('<main id="main"') == 1, path
        assert '<html lang="en">' in page
        assert 'href="#main"' in page
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=", page), path
        assert len(re.findall(r"<script", page)) == 2
        ids = re.findall(r'\sid="([^"]+)"', page)
        assert len(ids) == len(set(ids)), f"{path}: {[one for one in ids if ids.count(one) > 1]}"
        for named in re.findall(r'aria-(?:labelledby|describedby)="([^"]+)"', page):
            assert set(named.split()) <= set(ids), f"{path}: {named}"


@pytest.mark.parametrize(
    "path", ["/rollouts/r-unknown", "/approvals/p-unknown", "/evidence/00", "/slots/no/kill"]
)
def test_what_is_not_there_is_refused_with_a_page(omar: Browser, path: str) -> None:
    page = omar.get(path, status=404)
    assert "not_found" in page
    assert 'href="/"' in page
