"""Slots, the audit log, evidence and people as pages."""

from __future__ import annotations

import html
import json
import re

from controller.flow.actors import MACHINE
from controller.flow.kill import kill
from tests.browser.world import PROJECT
from tests.unit.ui.conftest import Browser
from tests.unit.ui.reading import found, text_of, waiting


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
    assert 'event_id=f"click-{number}"' in page, "a repeat must not count twice"
    assert "champion_model(features) else: answer = challenger_model(features)" in page


def test_the_set_up_page_tells_two_shells_apart(omar: Browser) -> None:
    page = omar.get("/setup")
    administrator, key, application = (
        html.unescape(found(rf'id="{name}">(.*?)</code>', page))
        for name in ("administrator", "key", "install")
    )
    assert "export CONTROLLER_URL=http" in administrator
    assert "CONTROLLER_TOKEN" in administrator
    assert "credentials.json" in page
    assert key.startswith("controller key create"), "an administrator's command"
    assert application.startswith("pip install .\n"), "the SDK alone"
    assert "controller " not in application, "without extras there is no such command"
    assert page.index('id="administrator"') < page.index('id="key"') < page.index('id="install"')


def test_what_came_from_outside_is_text(omar: Browser) -> None:
    with omar.world.database.begin() as connection:
        connection.exec_driver_sql("update proposals set status = 'voided', closed_at = opened_at")
        connection.exec_driver_sql(
            "update decisions set document = json_set(document, '$.note', '<img src=x>')"
        )
    page = omar.get(f"/rollouts/{waiting(omar.world)}")
    assert "<img src=x>" not in page
    assert "&lt;img src=x&gt;" in page
