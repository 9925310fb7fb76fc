"""What is served is what is described."""

from __future__ import annotations

import re
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from controller.flow.actors import Scope
from controller.rollout.states import Verb
from tests.web import METRIC, SLOT, Web


@pytest.fixture
def document(web: Web) -> Any:
    answer = web.call("GET", "/openapi.json")
    assert answer.status_code == 200
    return answer.json


def test_the_document_is_valid_openapi_3_1(document: Any) -> None:
    assert document["openapi"].startswith("3.1")
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_every_documented_route_is_there_and_nothing_else(web: Web, document: Any) -> None:
    described = {
        (method.upper(), path) for path, methods in document["paths"].items() for method in methods
    }
    served = {(route.method, route.template) for route in web.router.routes if route.documented}
    assert described == served


def test_every_operation_says_who_may_call_it_and_how_it_refuses(document: Any) -> None:
    ids = set()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            where = f"{method} {path}"
            ids.add(operation["operationId"])
            assert operation["summary"], where
            refusals = {code for code in operation["responses"] if code >= "400"}
            if operation["security"]:
                assert {"401", "403", "429"} <= refusals, where
            if "requestBody" in operation:
                assert {"400", "413", "415"} <= refusals, where
    assert len(ids) == sum(map(len, document["paths"].values()))


def test_no_wire_type_admits_unknown_fields_in_a_body(web: Web, document: Any) -> None:
    schemas = document["components"]["schemas"]
    for route in web.router.routes:
        if route.documented and route.reads == "json" and route.refuse is None:
            schema = schemas[route.body.__name__]
            assert schema["additionalProperties"] is False, route.name


def test_the_contracts_routes_are_all_served(web: Web) -> None:
    served = {(route.method, route.template) for route in web.router.routes}
    expected = """
    GET /livez | GET /readyz | GET /metrics | GET /openapi.json
    GET /v1/ruleset | GET /v1/ruleset/stream
    POST /v1/assign | POST /v1/assign/batch | POST /v1/expose
    POST /ofrep/v1/evaluate/flags/{slot} | POST /ofrep/v1/evaluate/flags
    POST /v1/events | GET /v1/events/problems | POST /v1/outcomes/{name}/complete
    PUT /v1/slots/{key} | GET /v1/slots/{key} | GET /v1/slots
    PUT /v1/metrics/{key} | GET /v1/metrics/{key} | GET /v1/metrics
    PUT /v1/policies/{name} | GET /v1/policies/{name} | GET /v1/policies
    POST /v1/plans
    POST /v1/rollouts | GET /v1/rollouts | GET /v1/rollouts/{rollout}
    GET /v1/rollouts/{rollout}/events | GET /v1/rollouts/{rollout}/decisions
    POST /v1/slots/{slot}/kill | DELETE /v1/slots/{slot}/kill | POST /v1/kill
    GET /v1/approvals | GET /v1/approvals/{proposal} | POST /v1/approvals/{proposal}/votes
    GET /v1/evidence/{sha256} | GET /v1/audit | GET /v1/audit/verify
    """
    verbs = [verb.value for verb in Verb]
    assert len(verbs) == 11
    wanted = {tuple(item.split()) for line in expected.split("\n") for item in line.split("|")}
    wanted = {item for item in wanted if item}
    wanted |= {("POST", f"/v1/rollouts/{{rollout}}/actions/{verb}") for verb in verbs}
    assert wanted - served == set()


@pytest.mark.parametrize(
    ("path", "name", "bodies"),
    [
        ("/v1/metrics/{key}", "MetricDefinition", (METRIC, {**METRIC, "type": "magic"})),
        ("/v1/slots/{key}", "SlotDefinition", (SLOT, {**SLOT, "champion": "m"})),
        ("/v1/policies/{name}", "PolicyDefinition", ({"ramp": [{"enrolled": 1}]}, {"ramp": "all"})),
    ],
)
def test_what_people_write_has_a_schema_that_agrees_with_the_answer(
    web: Web, document: Any, path: str, name: str, bodies: tuple[Any, Any]
) -> None:
    good, bad = bodies
    body = document["paths"][path]["put"]["requestBody"]["content"]
    assert {media["schema"]["$ref"] for media in body.values()} == {f"#/components/schemas/{name}"}
    check = Draft202012Validator(document["components"]["schemas"][name])
    assert check.is_valid(good)
    assert not check.is_valid(bad)
    address = re.sub(r"{.*}", "one", path)
    web.define()
    admin = web.keys[Scope.ADMIN]
    assert web.call("PUT", address, admin, json=bad).status_code == 422
    answer = web.call("PUT", address, admin, json=good)
    assert answer.status_code == 200, answer.json


def test_a_metric_without_a_window_is_stored_with_a_week(web: Web) -> None:
    asked = {name: value for name, value in METRIC.items() if name != "window_seconds"}
    admin = web.keys[Scope.ADMIN]
    for answer in (
        web.call("PUT", "/v1/metrics/open", admin, json=asked),
        web.call("GET", "/v1/metrics/open", admin),
    ):
        assert (answer.status_code, answer.json["window_seconds"]) == (200, 604800.0)
