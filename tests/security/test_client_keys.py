"""A client's key lies in browsers and on phones: what the public can do with it, and no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from sqlalchemy import update

from controller.flow.actors import BUNDLES, Bundle, Scope
from controller.service.api.people import KeyScope
from controller.service.http.limits import CLIENT, CLIENT_KEY
from controller.storage.sql.schema.people import KeyRow
from tests.security.knocking import PASSED_ACCESS, each_route, knock, refusal
from tests.web import Web, serving

HOME = {"Origin": "https://shop.example"}
AWAY = {"Origin": "https://evil.test"}


def made(web: Web, *scopes: str, **options: Any) -> dict[str, Any]:
    """A key as an administrator makes it over HTTP."""
    asked = {"name": "made", "scopes": list(scopes), **options}
    answer = web.call("POST", "/v1/keys", web.keys[Scope.ADMIN], json=asked)
    assert answer.status_code == 201, answer.json
    return dict(answer.json)


def assigned(web: Web, key: str, slot: str = "open", **headers: str) -> Any:
    asked = {"slot": slot, "unit": "u"}
    return web.call("POST", "/v1/assign", key, json=asked, headers=headers)


@pytest.fixture
def slots(web: Web) -> Web:
    web.define("open", clients=True)
    web.define("late")
    return web


def test_the_names_on_the_wire_are_those_of_the_code() -> None:
    assert set(get_args(KeyScope)) == {*map(str, Scope), *map(str, Bundle)}


@pytest.mark.parametrize("bundle", list(Bundle))
def test_a_bundle_opens_exactly_the_routes_of_its_scopes(web: Web, bundle: Bundle) -> None:
    view = made(web, bundle.value)
    assert view["scopes"] == sorted(BUNDLES[bundle])
    assert view["client"] is (bundle is Bundle.CLIENT)
    for route in each_route(web):
        if route.access.kind != "service":
            continue
        answer = knock(web, route, view["key"])
        where = f"{bundle} on {route.method} {route.path}: {answer.status_code}"
        if BUNDLES[bundle] & route.access.scopes:
            assert answer.status_code in PASSED_ACCESS, where
        else:
            assert (answer.status_code, refusal(answer)) == (403, "not_permitted"), where


@pytest.mark.parametrize("origins", [[], [HOME["Origin"]]])
def test_a_client_sees_slots_for_clients_alone(slots: Web, origins: list[str]) -> None:
    key = made(slots, "client", origins=origins)["key"]
    assert assigned(slots, key).status_code == 200
    closed, unknown = assigned(slots, key, "late"), assigned(slots, key, "nobody")
    assert closed.status_code == unknown.status_code == 404
    assert closed.json["detail"].replace("late", "nobody") == unknown.json["detail"]
    asked = {"requests": [{"slot": slot, "unit": "u"} for slot in ("open", "late")]}
    batch = slots.call("POST", "/v1/assign/batch", key, json=asked).json["assignments"]
    assert [one["reason"] for one in batch] == ["NO_ROLLOUT", "UNKNOWN_SLOT"]
    context = {"context": {"targetingKey": "u"}}
    single = slots.call("POST", "/ofrep/v1/evaluate/flags/late", key, json=context)
    assert single.status_code == 404
    bulk = slots.call("POST", "/ofrep/v1/evaluate/flags", key, json=context)
    assert [flag["key"] for flag in bulk.json["flags"]] == ["open"]


def test_a_client_works_from_its_websites_or_from_phones(slots: Web) -> None:
    browser = made(slots, "client", origins=[HOME["Origin"]])["key"]
    phone = made(slots, "client")["key"]
    answer = assigned(slots, browser, **HOME)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == HOME["Origin"]
    assert assigned(slots, phone).status_code == 200
    for key, origin in ((browser, AWAY), (phone, AWAY), (phone, HOME)):
        refused = assigned(slots, key, **origin)
        assert (refused.status_code, refused.json["code"]) == (403, "origin_refused")


@pytest.mark.parametrize("origins", [[], [HOME["Origin"]]])
def test_a_client_has_a_rate_of_its_own(tmp_path: Path, origins: list[str]) -> None:
    with serving(tmp_path) as web:
        web.define("open", clients=True)
        client, backend = made(web, "client", origins=origins)["key"], made(web, "sdk")["key"]
        vars(web.runtime.buckets)["_clock"] = lambda: 0.0
        name = f"key:{client.split('_')[1]}"
        web.runtime.buckets.take(name, CLIENT_KEY, cost=CLIENT_KEY.burst)
        spent, other = assigned(web, client), assigned(web, backend)
    assert (spent.status_code, other.status_code) == (429, 200)


class Crowd:
    """Callers with one client's key; `answered` is how many of so many requests are served."""

    def __init__(self, web: Web) -> None:
        web.define("open", clients=True)
        self.web, self.key = web, made(web, "client")["key"]
        self.now = 0.0
        vars(web.runtime.buckets)["_clock"] = lambda: self.now

    def answered(self, times: int, *, via: str = "192.0.2.1", said: str | None = None) -> int:
        headers = {} if said is None else {"X-Forwarded-For": said}
        codes = [
            self.web.call(
                "POST",
                "/v1/assign",
                self.key,
                json={"slot": "open", "unit": "u"},
                headers=headers,
                environ_overrides={"REMOTE_ADDR": via},
            ).status_code
            for _ in range(times)
        ]
        assert set(codes) <= {200, 429}
        return codes.count(200)


BURST = int(CLIENT.burst)


def test_one_browser_at_its_limit_leaves_the_others_theirs(tmp_path: Path) -> None:
    with serving(tmp_path) as web:
        crowd = Crowd(web)
        assert crowd.answered(BURST + 20) == BURST
        assert crowd.answered(30, via="192.0.2.2") == 30
        assert crowd.answered(1, said="192.0.2.3") == 0, "what it says of itself is not believed"
        crowd.now += 1.0
        assert crowd.answered(BURST) == CLIENT.per_second


def test_behind_a_proxy_a_browser_is_whom_the_proxy_names(tmp_path: Path) -> None:
    with serving(tmp_path, trusted_proxies=1) as web:
        crowd = Crowd(web)
        assert crowd.answered(BURST + 20, said="198.51.100.7") == BURST
        assert crowd.answered(20, said="198.51.100.8") == 20
        assert crowd.answered(1, said="203.0.113.9, 198.51.100.7") == 0, "its own word before"


def test_one_line_of_ipv6_is_one_browser(tmp_path: Path) -> None:
    with serving(tmp_path) as web:
        crowd = Crowd(web)
        addresses = [f"2001:db8:0:7::{number:x}" for number in range(1, BURST + 21)]
        assert sum(crowd.answered(1, via=address) for address in addresses) == BURST
        assert crowd.answered(1, via="2001:db8:0:8::1") == 1


def test_a_crowd_shares_what_its_key_has(tmp_path: Path) -> None:
    with serving(tmp_path) as web:
        crowd = Crowd(web)
        name = f"key:{crowd.key.split('_')[1]}"
        web.runtime.buckets.take(name, CLIENT_KEY, cost=CLIENT_KEY.burst - 10)
        served = [crowd.answered(1, via=f"10.0.0.{number}") for number in range(20)]
        assert served == [1] * 10 + [0] * 10


@pytest.mark.parametrize(
    "asked",
    [
        {"scopes": ["client", "ingest"]},
        {"scopes": ["client", "evaluate"]},
        {"scopes": ["client", "sdk"]},
        {"scopes": ["sdk"], "origins": [HOME["Origin"]]},
        {"scopes": ["client"], "origins": ["shop.example"]},
        {"scopes": ["sdks"]},
        {"scopes": []},
    ],
)
def test_a_key_that_would_give_the_public_more_is_refused(web: Web, asked: Any) -> None:
    answer = web.call("POST", "/v1/keys", web.keys[Scope.ADMIN], json={"name": "x", **asked})
    assert answer.status_code == 422, answer.json


def test_a_rotated_client_stays_one_and_the_log_says_so(slots: Web) -> None:
    first = made(slots, "client")
    admin = slots.keys[Scope.ADMIN]
    second = slots.call("POST", f"/v1/keys/{first['key_id']}/rotate", admin, json={}).json
    assert (second["client"], second["scopes"]) == (True, ["evaluate"])
    assert assigned(slots, second["key"], "late").status_code == 404
    entry = slots.call(
        "GET", "/v1/audit", admin, query_string={"object": f"key/{first['key_id']}"}
    ).json["entries"][0]
    assert (entry["action"], entry["details"]["client"]) == ("key_created", True)


@pytest.mark.parametrize(("origins", "client"), [([], False), ([HOME["Origin"]], True)])
def test_a_key_from_before_the_column_is_a_client_where_it_has_origins(
    slots: Web, origins: list[str], client: bool
) -> None:
    view = made(slots, "evaluate", origins=origins)
    changed = update(KeyRow).where(KeyRow.key_id == view["key_id"]).values(client=None)
    with slots.database.main.begin() as connection:
        connection.execute(changed)
    assert assigned(slots, view["key"], "late").status_code == (404 if client else 200)
    listed = slots.call("GET", "/v1/keys", slots.keys[Scope.ADMIN]).json["keys"]
    assert [one["client"] for one in listed if one["key_id"] == view["key_id"]] == [client]
