"""Every page as HTML, read and used without script."""

from __future__ import annotations

import gzip
import html
import json
import re

import pytest

from controller.flow.actors import MACHINE, Role
from controller.flow.approve import vote
from controller.flow.kill import kill
from controller.flow.people import make_link
from controller.flow.status import status_document
from controller.flow.verbs import act
from controller.rollout.states import State, Verb
from controller.service.ui.actions import ROLES
from controller.service.ui.console import safe_next
from tests.browser.world import DANA, PASSWORD, PROJECT, World
from tests.browser.world import ROLES as PEOPLE
from tests.unit.ui.conftest import Browser, forms


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


# ---------------------------------------------------------------- signing in


def test_the_wrong_password_is_refused_in_the_same_words_as_an_unknown_name(
    stranger: Browser,
) -> None:
    answers = [
        stranger.client.post("/login", data={"name": name, "password": "wrong password 1"})
        for name in ("omar", "nobody")
    ]
    assert [answer.status_code for answer in answers] == [401, 401]
    notices = [found(r'id="error"[^>]*>(.*?)</p>', one.text) for one in answers]
    assert notices[0] == notices[1]
    assert "Set-Cookie" not in answers[0].headers


def test_a_stranger_is_sent_to_sign_in_and_comes_back(stranger: Browser) -> None:
    wanted = f"/rollouts/{waiting(stranger.world)}"
    answer = stranger.client.get(wanted)
    assert answer.status_code == 303
    assert answer.headers["Location"] == f"/login?next={wanted.replace('/', '%2F')}"
    page = stranger.get(answer.headers["Location"])
    assert f'name="next" value="{wanted}"' in page
    signed_in = stranger.client.post(
        "/login", data={"name": "omar", "password": PASSWORD, "next": wanted}
    )
    assert signed_in.headers["Location"] == wanted
    cookie = signed_in.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


@pytest.mark.parametrize(
    "wanted", ["//evil.example", "/\\evil.example", "https://evil.example", "evil", "/a\\b", "/\n"]
)
def test_nobody_is_sent_elsewhere(wanted: str) -> None:
    assert safe_next(wanted) == "/"
    assert safe_next("/rollouts/r-1?done=x") == "/rollouts/r-1?done=x"


def test_a_live_part_tells_a_browser_whose_session_ended_where_to_go(stranger: Browser) -> None:
    answer = stranger.client.get("/live", headers={"HX-Request": "true"})
    assert answer.status_code == 401
    assert answer.headers["HX-Redirect"].startswith("/login?next=")


def test_signing_out_ends_the_session(omar: Browser) -> None:
    answer = omar.send("/", "/logout")
    assert answer.headers["Location"] == "/login"
    assert omar.client.get("/").status_code == 303


def test_a_sign_in_link_works_once(stranger: Browser) -> None:
    secret, _ = make_link(stranger.world.store, "vera", actor=MACHINE)
    page = stranger.get(f"/link/{secret}")
    assert "works once" in page
    address = f"/link/{secret}"
    differing = stranger.client.post(address, data={"password": "one thing 123", "again": "other"})
    assert (differing.status_code, "differ" in differing.text) == (422, True)
    short = stranger.client.post(address, data={"password": "short", "again": "short"})
    assert short.status_code == 422
    chosen = {"password": "a new long password", "again": "a new long password"}
    used = stranger.client.post(address, data=chosen)
    assert (used.status_code, used.headers["Location"]) == (303, "/")
    assert "vera" in stranger.get("/")
    again = stranger.client.post(address, data=chosen)
    assert (again.status_code, "unknown, used or expired" in again.text) == (401, True)


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


@pytest.mark.parametrize(
    "path", ["/rollouts/r-unknown", "/approvals/p-unknown", "/evidence/00", "/slots/no/kill"]
)
def test_what_is_not_there_is_refused_with_a_page(omar: Browser, path: str) -> None:
    page = omar.get(path, status=404)
    assert "not_found" in page
    assert 'href="/"' in page


# ---------------------------------------------------------------- verbs


def test_rolling_back_takes_two_steps_and_no_reason(omar: Browser) -> None:
    rollout = waiting(omar.world)
    page = omar.get(f"/rollouts/{rollout}")
    address = f"/rollouts/{rollout}/actions/rollback"
    assert f'href="{address}"' in page
    confirm = text_of(omar.get(address))
    assert "Roll back to logistic 2013.1?" in confirm
    assert "No reason has to be given" in confirm
    answer = omar.send(address, address)
    assert answer.headers["Location"] == f"/rollouts/{rollout}?done=rollback"
    assert omar.world.rollout(rollout).state is State.ROLLING_BACK
    assert "Rolling back" in text_of(omar.get(answer.headers["Location"]))


def test_pausing_and_resuming(omar: Browser) -> None:
    rollout = waiting(omar.world)
    pause, resume = (f"/rollouts/{rollout}/actions/{verb}" for verb in ("pause", "resume"))
    assert omar.send(pause, pause, note="The airport is closed.").status_code == 303
    shown = text_of(omar.get(f"/rollouts/{rollout}"))
    assert "Held: a person paused it" in shown
    assert "The airport is closed." in shown
    assert omar.send(resume, resume).status_code == 303
    assert omar.world.rollout(rollout).paused == ()


def test_a_verb_that_raises_names_the_version_that_was_read(omar: Browser) -> None:
    rollout = waiting(omar.world)
    pause, resume = (f"/rollouts/{rollout}/actions/{verb}" for verb in ("pause", "resume"))
    omar.send(pause, pause)
    read = re.search(r'name="version" value="(\d+)"', omar.get(resume))
    assert read is not None
    act(omar.world.store, PROJECT, rollout, "resume", actor=DANA, if_match=int(read.group(1)))
    act(omar.world.store, PROJECT, rollout, "pause", actor=DANA)
    token = re.search(r'name="csrf_token" value="([^"]+)"', omar.get(resume))
    assert token is not None
    stale = omar.client.post(
        resume, data={"csrf_token": token.group(1), "version": read.group(1), "note": ""}
    )
    assert stale.status_code == 412
    assert "Open the rollout again" in stale.text
    assert omar.world.rollout(rollout).paused, "nothing happened"


def test_a_form_without_its_token_does_nothing(omar: Browser) -> None:
    rollout = waiting(omar.world)
    refused = omar.client.post(f"/rollouts/{rollout}/actions/rollback", data={"note": ""})
    assert (refused.status_code, "csrf_refused" in refused.text) == (403, True)
    assert omar.world.rollout(rollout).state is State.DECIDING


def test_a_viewer_sees_every_button_with_the_reason_it_does_not_work(stranger: Browser) -> None:
    stranger.sign_in("vera")
    rollout = waiting(stranger.world)
    page = stranger.get(f"/rollouts/{rollout}")
    assert re.search(r'aria-disabled="true" aria-describedby="why-rollback">Roll back', page)
    assert "Not now: you need the role" in text_of(page)
    address = f"/rollouts/{rollout}/actions/rollback"
    assert stranger.send(address, address).status_code == 403
    assert stranger.world.rollout(rollout).state is State.DECIDING


def test_the_page_says_beforehand_what_the_use_case_says_afterwards(world: World) -> None:
    """Who may ask for a verb, for every verb and role."""
    from controller.errors import ControllerError, NotPermitted
    from controller.flow.actors import Actor

    for verb in Verb:
        for role in Role:
            actor = Actor(name="dana", kind="operator", roles=frozenset({role}))
            permitted = True
            try:
                act(world.store, PROJECT, waiting(world), verb, actor=actor, dry_run=True)
            except NotPermitted:
                permitted = False
            except ControllerError:
                pass  # let in, and refused for another reason
            assert permitted == (role in ROLES[verb]), f"{role} {verb}"


# ---------------------------------------------------------------- approvals


def approve(world: World, name: str, how: str = "approve") -> None:
    from controller.flow.actors import Actor

    with world.store.reading() as work:
        proposal = work.approvals.open_for(PROJECT, waiting(world))
    assert proposal is not None
    actor = Actor(name=name, kind="operator", roles=PEOPLE[name])
    vote(
        world.store,
        PROJECT,
        proposal.id,
        vote=how,
        digest=proposal.digest,
        comment="Seen.",
        actor=actor,
    )


def test_two_people_promote_in_the_console(omar: Browser) -> None:
    world = omar.world
    proposal = world.open_proposal(waiting(world))
    address = f"/approvals/{proposal}"
    page = text_of(omar.get(address))
    assert "Promote weather-boost 2013.4" in page
    assert "2 more approvals needed" in page
    assert "Others who can approve: ruth." in page
    answer = omar.send(address, address, vote="approve", comment="The lead holds.")
    assert answer.headers["Location"] == f"{address}?done=approve"
    after = omar.get(answer.headers["Location"])
    assert "Your approval is recorded." in after
    assert "You cannot approve: you have approved it already" in text_of(after)
    assert world.rollout(waiting(world)).state is State.DECIDING
    omar.send("/", "/logout")
    omar.sign_in("ruth")
    omar.send(address, address, vote="approve", comment="")
    assert world.rollout(waiting(world)).state is State.PROMOTING
    closed = omar.get(address)
    assert "Done" in text_of(closed)
    assert "How it ended" in text_of(closed)
    assert "What has moved since" not in text_of(closed)
    assert 'name="vote"' not in closed, "no dead buttons"
    assert f'hx-get="{address}/live"' not in closed, "a closed proposal stands still"
    assert "How it ended" in omar.get(f"{address}/live"), "a page from before learns of it"


def test_a_rejection_needs_a_reason_and_keeps_what_was_typed(omar: Browser) -> None:
    address = f"/approvals/{omar.world.open_proposal(waiting(omar.world))}"
    refused = omar.send(address, address, vote="reject", comment=" ")
    assert refused.status_code == 422
    assert "Say why you reject it" in refused.text
    assert omar.send(address, address, vote="reject", comment="July is missing.").status_code == 303
    assert "Rejected" in text_of(omar.get(address))
    assert "July is missing." in text_of(omar.get(f"/rollouts/{waiting(omar.world)}"))


def test_who_asked_cannot_approve_and_reads_why(stranger: Browser) -> None:
    stranger.sign_in("dana")
    address = f"/approvals/{stranger.world.open_proposal(waiting(stranger.world))}"
    page = stranger.get(address)
    assert "You cannot approve: you need the role approver." in text_of(page)
    button = re.search(r'<button[^>]*value="approve"[^>]*>', page)
    assert button is not None
    assert "disabled" in button.group(0)
    assert 'aria-describedby="why-not"' in button.group(0)


def test_a_vote_on_other_content_is_refused(omar: Browser) -> None:
    address = f"/approvals/{omar.world.open_proposal(waiting(omar.world))}"
    form = next(one for one in forms(omar.get(address)) if 'name="digest"' in one)
    token = re.search(r'name="csrf_token" value="([^"]+)"', form)
    assert token is not None
    answer = omar.client.post(
        address, data={"csrf_token": token.group(1), "digest": "0" * 64, "vote": "approve"}
    )
    assert answer.status_code == 422
    assert "open the proposal again" in answer.text


def test_an_approval_shows_what_is_frozen_and_what_moved(omar: Browser) -> None:
    world = omar.world
    address = f"/approvals/{world.open_proposal(waiting(world))}"
    with world.store.reading() as work:
        proposal = work.approvals.open_for(PROJECT, waiting(world))
        assert proposal is not None
        frozen = work.evidence.get(PROJECT, proposal.document["evidence"])
    assert frozen is not None
    assert frozen["number"] < world.rollout(waiting(world)).look_number
    page = omar.get(address)
    tile = text_of(found(r'id="estimate-[^"]*">(.*?)</dd>', page))
    estimate = frozen["metrics"][0]["comparisons"][0]["estimate"]
    assert float(tile.replace("−", "-")) == round(estimate, len(tile.partition(".")[2]))
    moved = text_of(page[page.index('id="moved"') : page.index('id="people"')])
    assert tile in moved
    assert "No guardrail is shown to be harmed" in moved


# ---------------------------------------------------------------- slots, audit, evidence, people


def test_the_kill_switch_is_pulled_and_lifted(omar: Browser) -> None:
    address = "/slots/late-flight-alert/kill"
    assert "No reason has to be given" in text_of(omar.get(address))
    pulled = omar.send(address, address, to="champion", note="Something smells.")
    assert pulled.headers["Location"] == "/slots?done=kill"
    assert "Something smells." in omar.get("/slots")
    assert "The kill switch is on" in text_of(omar.get(f"/rollouts/{waiting(omar.world)}"))
    lift = "/slots/late-flight-alert/lift"
    assert omar.send(address, lift).headers["Location"] == "/slots?done=lift"
    assert "Kill switch on" not in text_of(omar.get("/slots"))


def test_a_kill_to_a_model_that_is_not_there_says_so(omar: Browser) -> None:
    address = "/slots/late-flight-alert/kill"
    refused = omar.send(address, address, to="fallback")
    assert refused.status_code == 422
    assert "kill to champion instead" in refused.text


def test_the_audit_chain_is_checked_on_the_page(omar: Browser) -> None:
    assert "Whole: all" in text_of(omar.get("/audit/verify"))
    with omar.world.database.begin() as connection:
        connection.exec_driver_sql("update audit set actor = 'mallory' where seq = 3")
    assert "Broken at entry 3" in text_of(omar.get("/audit/verify"))


def test_the_audit_log_is_paged_and_filtered(omar: Browser) -> None:
    rollout = waiting(omar.world)
    about = omar.get(f"/audit?object=rollout/{rollout}")
    objects = re.findall(r'href="/rollouts/([^"]+)">', about)
    assert set(objects) == {rollout}
    with omar.world.store.writing() as work:
        for index in range(60):
            work.audit.append(
                PROJECT, at=work.now, actor="omar", action="noted", object=f"note/{index}"
            )
    first = omar.get("/audit")
    older = re.search(r'href="(/audit\?before=\d+[^"]*)">Older', first)
    assert older is not None
    second = omar.get(html.unescape(older.group(1)))
    numbers = [
        int(one) for page in (first, second) for one in re.findall(r'id="entry-(\d+)"', page)
    ]
    assert numbers == sorted(numbers, reverse=True)
    assert len(numbers) == len(set(numbers))


def test_evidence_is_shown_and_given_exactly(omar: Browser) -> None:
    sha256 = omar.world.rollout(waiting(omar.world)).look_sha256
    assert "gives exactly this digest" in text_of(omar.get(f"/evidence/{sha256}"))
    exact = omar.client.get(f"/evidence/{sha256}/json")
    assert exact.headers["Content-Disposition"].startswith("attachment")
    with omar.world.store.reading() as work:
        assert json.loads(exact.data) == work.evidence.get(PROJECT, str(sha256))


def test_an_administrator_adds_somebody_who_then_signs_in(stranger: Browser) -> None:
    stranger.sign_in("admin")
    added = stranger.send("/operators", "/operators", name="ines", viewer="yes", approver="yes")
    link = re.search(r'id="link">http://[^/]+(/link/[^<]+)<', added.text)
    assert link is not None
    taken = stranger.send("/operators", "/operators", name="ines")
    assert (taken.status_code, "already" in taken.text) == (422, True)
    locked = stranger.send("/operators", "/operators/vera/access")
    assert "Let in" in locked.text
    stranger.send("/", "/logout")
    chosen = {"password": "another long password", "again": "another long password"}
    assert stranger.client.post(link.group(1), data=chosen).status_code == 303
    assert "ines" in stranger.get("/")


def test_only_an_administrator_changes_people(omar: Browser) -> None:
    page = omar.get("/operators")
    assert "Only an operator with the role admin" in text_of(page)
    assert 'data-label="Sign-in">active<' in page
    token = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert token is not None
    refused = omar.client.post("/operators", data={"csrf_token": token.group(1), "name": "eve"})
    assert refused.status_code == 403


def test_a_killed_slot_says_so_on_every_page_about_it(omar: Browser) -> None:
    kill(omar.world.store, PROJECT, "late-flight-alert", actor=MACHINE)
    assert "Kill switch on" in text_of(omar.get("/"))
    assert "Lift the kill switch" in text_of(omar.get("/slots"))


def test_the_set_up_page_names_slot_and_outcome(omar: Browser) -> None:
    page = text_of(omar.get("/setup?slot=recommendation"))
    assert 'client.assign("recommendation", unit=visit_id)' in page
    assert 'client.track("click", unit=visit_id' in page
    assert "champion_model(features) else: answer = challenger_model(features)" in page


def test_what_came_from_outside_is_text(omar: Browser) -> None:
    with omar.world.database.begin() as connection:
        connection.exec_driver_sql("update proposals set status = 'voided', closed_at = opened_at")
        connection.exec_driver_sql(
            "update decisions set document = json_set(document, '$.note', '<img src=x>')"
        )
    page = omar.get(f"/rollouts/{waiting(omar.world)}")
    assert "<img src=x>" not in page
    assert "&lt;img src=x&gt;" in page
