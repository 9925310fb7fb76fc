"""Tickets open the stream of one project for a minute, and nothing else does."""

from __future__ import annotations

import pytest

from controller.errors import Unauthenticated
from controller.service.http.tickets import LIFE_SECONDS, read_ticket, sign_ticket

SECRET = "one secret of a deployment, long enough"
NOW = 1_795_000_000.0


@pytest.mark.parametrize("project", ["default", "a.b-c_d", "x"])
def test_a_ticket_names_its_project_for_a_minute(project: str) -> None:
    ticket = sign_ticket(SECRET, project, now=NOW)
    assert read_ticket(SECRET, ticket, now=NOW + LIFE_SECONDS - 1) == project
    with pytest.raises(Unauthenticated, match="over"):
        read_ticket(SECRET, ticket, now=NOW + LIFE_SECONDS + 1)


def test_a_ticket_of_another_deployment_is_refused() -> None:
    ticket = sign_ticket("another secret, long enough as well", "default", now=NOW)
    with pytest.raises(Unauthenticated, match="not given out here"):
        read_ticket(SECRET, ticket, now=NOW)


def test_every_change_breaks_a_ticket() -> None:
    ticket = sign_ticket(SECRET, "default", now=NOW)
    for place in range(len(ticket)):
        for put in ("x", "9", "~"):
            changed = ticket[:place] + put + ticket[place + 1 :]
            if changed != ticket:
                with pytest.raises(Unauthenticated):
                    read_ticket(SECRET, changed, now=NOW)


@pytest.mark.parametrize("text", ["", "~~", "default", "default~x~y", "default~١٢~a", "a~1~é"])
def test_nonsense_is_no_ticket(text: str) -> None:
    with pytest.raises(Unauthenticated):
        read_ticket(SECRET, text, now=NOW)
