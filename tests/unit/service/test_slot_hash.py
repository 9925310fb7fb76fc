"""`hash` of a slot over HTTP: kept, shown, and refused by name where it is not known."""

from __future__ import annotations

from controller.flow.actors import Scope
from tests.web import Web

SLOT = {"unit": "departure", "champion": {"name": "rule", "version": "1"}}
WHERE = "/v1/slots/batch"


def test_a_slot_says_which_hash_splits_its_next_rollouts(web: Web) -> None:
    admin, reader = web.keys[Scope.ADMIN], web.keys[Scope.READ]
    made = web.call("PUT", WHERE, admin, json={**SLOT, "hash": "xxh3"})
    assert made.status_code == 200, made.json
    assert web.call("GET", WHERE, reader).json["hash"] == "xxh3"
    refused = web.call("PUT", WHERE, admin, json={**SLOT, "hash": "md5"})
    assert (refused.status_code, refused.json["code"]) == (422, "invalid_input")
    assert "sha256, xxh3" in refused.json["detail"]
    plain = web.call("PUT", WHERE, admin, json=SLOT)
    assert plain.status_code == 200
    assert web.call("GET", WHERE, reader).json.get("hash", "sha256") == "sha256"
