"""A client's key lies in browsers and on phones: what the public can do with it, and no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from sqlalchemy import update

from controller.flow.actors import BUNDLES, Bundle, Scope
from controller.service.api.people import KeyScope
from controller.service.http.limits import CLIENT
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
    closed = assigned(slots, key, "late")
    assert closed.status_code == 403
    asked = {"requests": [{"slot": slot, "unit": "u"} for slot in ("open", "late")]}
    batch = slots.call("POST", "/v1/assign/batch", key, json=asked).json["assignments"]
    assert [one["reason"] for one in batch] == ["NO_ROLLOUT", "UNKNOWN_SLOT"]
    context = {"context": {"targetingKey": "u"}}
    single = slots.call("POST", "/ofrep/v1/evaluate/flags/late", key, json=context)
    assert single.status_code in (403, 404)
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
        for _ in range(int(CLIENT.burst)):
            web.runtime.buckets.take(f"key:{client.split('_')[1]}", CLIENT)
        spent, other = assigned(web, client), assigned(web, backend)
    assert (spent.status_code, other.status_code) == (429, 200)


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
    assert assigned(slots, second["key"], "late").status_code == 403
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
    assert assigned(slots, view["key"], "late").status_code == (403 if client else 200)
    listed = slots.call("GET", "/v1/keys", slots.keys[Scope.ADMIN]).json["keys"]
    assert [one["client"] for one in listed if one["key_id"] == view["key_id"]] == [client]
