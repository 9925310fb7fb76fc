"""The ruleset for SDKs that assign locally, and the way to its stream."""

from __future__ import annotations

from typing import Final

from controller.assignment.signature import (
    DEPLOYMENT_HEADER,
    SIGNATURE_HEADER,
    VERSION_HEADER,
    sign_ruleset,
)
from controller.errors import NotFound, Unavailable
from controller.flow.actors import Scope
from controller.flow.serve import Served
from controller.service.api.side_documents import SideDocument, SideDocuments
from controller.service.http.calls import Answer, Call
from controller.service.http.limits import HOT
from controller.service.http.router import Route, service
from controller.service.http.runtime import WebRuntime
from controller.service.http.tickets import sign_ticket

STREAM_PATH: Final = "/v1/ruleset/stream"


def ruleset_routes(runtime: WebRuntime) -> list[Route]:
    """`GET /v1/ruleset` and the redirect to its stream."""

    def ruleset(call: Call) -> Answer:
        if runtime.checked is not None and call.caller.key is not None:
            runtime.checked.remember(call.caller.key)
        return ruleset_answer(call, runtime.rulesets.fresh(call.project))

    documents = SideDocuments(runtime.store)

    def exceptions(call: Call) -> Answer:
        return documents.answer(call, call.path["sha256"])

    def stream(call: Call) -> Answer:
        ticket = sign_ticket(runtime.settings.require_secret(), call.project, now=runtime.clock())
        return Answer(
            status=307,
            headers={"Location": f"{runtime.settings.stream_address}{STREAM_PATH}?ticket={ticket}"},
        )

    return [
        Route(
            method="GET",
            path="/v1/ruleset",
            name="get_ruleset",
            summary="The ruleset in force, for local evaluation",
            description=(
                "Its ETag is the sha256 of the body; send it as If-None-Match. The signature "
                "header is an HMAC under the signing half of the caller's key."
            ),
            access=service(Scope.RULESET),
            handler=ruleset,
            hot=True,
            rate=HOT,
            errors=(NotFound, Unavailable),
        ),
        Route(
            method="GET",
            path="/v1/ruleset/exceptions/<sha256>",
            name="get_ruleset_exceptions",
            summary="Hashes of the units that a rollout does not answer by the pure function",
            description=(
                "The ruleset names it by the sha256 of its bytes; it never changes. A unit outside "
                "it is settled by the pure function."
            ),
            access=service(Scope.RULESET),
            handler=exceptions,
            answer=SideDocument,
            rate=HOT,
            errors=(NotFound, Unavailable),
        ),
        Route(
            method="GET",
            path=STREAM_PATH,
            name="get_ruleset_stream",
            summary="Where to hear of new rulesets: a redirect with a ticket for 60 s",
            access=service(Scope.RULESET),
            handler=stream,
            hot=True,
            rate=HOT,
            status=307,
            errors=(Unavailable,),
        ),
    ]


def ruleset_answer(call: Call, served: Served) -> Answer:
    """The ruleset for one caller: 304 where they have it, gzip where they read it."""
    headers = {
        "ETag": f'"{served.sha256}"',
        VERSION_HEADER: str(served.version),
        DEPLOYMENT_HEADER: served.ruleset.deployment,
        "Vary": "Accept-Encoding, Authorization",
        "Cache-Control": "private, no-cache",
    }
    key = call.caller.key
    if key is not None:
        headers[SIGNATURE_HEADER] = sign_ruleset(
            bytes.fromhex(key.signing_key),
            deployment=served.ruleset.deployment,
            version=served.version,
            digest=served.sha256,
        )
    if call.request.if_none_match.contains_weak(served.sha256):
        return Answer(status=304, headers=headers)
    if call.request.accept_encodings["gzip"] > 0:
        return Answer(body=served.packed, headers={**headers, "Content-Encoding": "gzip"})
    return Answer(body=served.body, headers=headers)
