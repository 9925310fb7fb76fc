"""The WSGI application: the JSON API and the console behind one door."""

from __future__ import annotations

from collections.abc import Mapping

import flask
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import MethodNotAllowed as WerkzeugMethodNotAllowed
from werkzeug.exceptions import NotFound as WerkzeugNotFound
from werkzeug.wrappers import Request

from controller.errors import ControllerError
from controller.service.api.routes import api_routes
from controller.service.http.calls import Answer
from controller.service.http.cors import Origins
from controller.service.http.door import BODILESS, Door
from controller.service.http.loader import MOST_BYTES
from controller.service.http.pipeline import Pipeline
from controller.service.http.refusals import (
    BadRequest,
    BodyTooLarge,
    MethodNotAllowed,
    RouteNotFound,
)
from controller.service.http.router import Route, Router
from controller.service.http.runtime import WebRuntime
from controller.service.ui.pages import install_console


def create_app(runtime: WebRuntime) -> flask.Flask:
    """The application of one process; its `wsgi_app` is the door."""
    app = flask.Flask("controller", static_folder=None, template_folder=None)
    app.config.update(
        MAX_CONTENT_LENGTH=MOST_BYTES,
        MAX_FORM_MEMORY_SIZE=MOST_BYTES,
        MAX_FORM_PARTS=200,
        PROPAGATE_EXCEPTIONS=True,
        SECRET_KEY=None,
    )
    router = Router()
    router.add(*api_routes(runtime, router))
    install_console(app, router, runtime)
    pipeline = Pipeline(
        router=router,
        store=runtime.store,
        authenticator=runtime.authenticator,
        sessions=runtime.sessions,
        buckets=runtime.buckets,
    )

    def serve(route: Route, request: Request, parts: Mapping[str, str]) -> flask.Response:
        return _response(pipeline(route, request, parts))

    def refuse(error: HTTPException) -> flask.Response:
        return _response(pipeline.refuse(_refusal(error), flask.request, None))

    router.install(app, serve)
    app.register_error_handler(HTTPException, refuse)
    app.extensions["controller.router"] = router
    app.wsgi_app = Door(  # type: ignore[method-assign]
        app.wsgi_app,
        router=router,
        pipeline=pipeline,
        telemetry=runtime.telemetry,
        origins=Origins(runtime.store),
        hosts=runtime.hosts,
        secure=runtime.secure,
        trusted_proxies=runtime.settings.trusted_proxies,
    )
    return app


def _response(answer: Answer) -> flask.Response:
    response = flask.Response(answer.body, status=answer.status)
    if answer.status in BODILESS:
        del response.headers["Content-Type"]
    else:
        response.headers["Content-Type"] = answer.media
    for name, value in answer.headers.items():
        response.headers[name] = value
    return response


def _refusal(error: HTTPException) -> ControllerError:
    if isinstance(error, WerkzeugNotFound):
        return RouteNotFound()
    if isinstance(error, WerkzeugMethodNotAllowed):
        return MethodNotAllowed(allowed=sorted(error.valid_methods or ()))
    if error.code == 413:
        return BodyTooLarge()
    return BadRequest()
