"""Every route of the JSON API, in the order of the reference."""

from __future__ import annotations

from controller.service.api.aliases import alias_routes
from controller.service.api.approvals import approval_routes
from controller.service.api.assign import assign_routes
from controller.service.api.definitions import definition_routes
from controller.service.api.events import event_routes
from controller.service.api.exports import export_routes
from controller.service.api.health import health_routes
from controller.service.api.kills import kill_routes
from controller.service.api.ofrep import ofrep_routes
from controller.service.api.people import people_routes
from controller.service.api.plans import plan_routes
from controller.service.api.records import record_routes
from controller.service.api.rollouts import rollout_routes
from controller.service.api.rulesets import ruleset_routes
from controller.service.api.traffic import traffic_routes
from controller.service.http.router import Route, Router
from controller.service.http.runtime import WebRuntime


def api_routes(runtime: WebRuntime, router: Router) -> list[Route]:
    """The JSON API."""
    return [
        *health_routes(runtime, router),
        *ruleset_routes(runtime),
        *assign_routes(runtime),
        *ofrep_routes(runtime),
        *event_routes(runtime),
        *alias_routes(runtime),
        *definition_routes(runtime),
        *traffic_routes(runtime),
        *plan_routes(runtime),
        *rollout_routes(runtime),
        *kill_routes(runtime),
        *approval_routes(runtime),
        *record_routes(runtime),
        *export_routes(runtime),
        *people_routes(runtime),
    ]
