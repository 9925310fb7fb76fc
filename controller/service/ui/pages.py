"""Every page of the console, put before the same router as the JSON API."""

from __future__ import annotations

import flask

from controller.service.http.router import Router
from controller.service.http.runtime import WebRuntime
from controller.service.ui.approvals import approval_routes
from controller.service.ui.audit import audit_routes
from controller.service.ui.console import Console
from controller.service.ui.editing import editing_routes
from controller.service.ui.evidence import evidence_routes
from controller.service.ui.exports import export_routes
from controller.service.ui.login import login_routes
from controller.service.ui.people import people_routes
from controller.service.ui.reach import reach_routes
from controller.service.ui.rollout import rollout_routes
from controller.service.ui.rollouts import rollouts_routes
from controller.service.ui.setup import setup_routes
from controller.service.ui.slots import slot_routes
from controller.service.ui.static_files import static_route


def install_console(_app: flask.Flask, router: Router, runtime: WebRuntime) -> None:
    """Add the console's routes, and pages for whatever is refused on them."""
    pages = Console(runtime)
    router.add(
        static_route(pages.files),
        *login_routes(pages),
        *rollouts_routes(pages),
        *rollout_routes(pages),
        *editing_routes(pages),
        *approval_routes(pages),
        *slot_routes(pages),
        *reach_routes(pages),
        *audit_routes(pages),
        *evidence_routes(pages),
        *export_routes(pages),
        *people_routes(pages),
        *setup_routes(pages),
    )
    router.page_of_problem = pages.page_of_problem
