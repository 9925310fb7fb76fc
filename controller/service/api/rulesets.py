"""The ruleset for SDKs that assign locally, and the way to its stream."""

from __future__ import annotations

import gzip
import re
import threading
from dataclasses import dataclass
from typing import Final

from msgspec import Struct

from controller.assignment.signature import (
    DEPLOYMENT_HEADER,
    SIGNATURE_HEADER,
    VERSION_HEADER,
    sign_ruleset,
)
from controller.errors import NotFound, Unavailable
from controller.flow.actors import Scope
from controller.flow.ports.work import Store
from controller.flow.serve import Served
from controller.service.http.calls import Answer, Call
from controller.service.http.limits import HOT
from controller.service.http.router import Route, service
from controller.service.http.runtime import WebRuntime
from controller.service.http.tickets import sign_ticket

STREAM_PATH: Final = "/v1/ruleset/stream"
_NAME: Final = re.compile("[0-9a-f]{64}")


def ruleset_routes(runtime: WebRuntime) -> list[Route]:
    """`GET /v1/ruleset` and the redirect to its stream."""

    def ruleset(call: Call) -> Answer:
        if runtime.checked is not None and call.caller.key is not None:
            runtime.checked.remember(call.caller.key)
        return ruleset_answer(call, runtime.rulesets.fresh(call.project))

    kept = Documents(runtime.store)

    def exceptions(call: Call) -> Answer:
        return _document_answer(call, kept.get(call.project, call.path["sha256"]))

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


class SideDocument(Struct):
    """Units by `keyed_hash` under `key`, 16 hex digits each, in order."""

    schema: int
    key: str
    units: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """One side document, ready to be sent."""

    sha256: str
    body: bytes
    packed: bytes


class Documents:
    """The side documents that were asked for last: every SDK asks for the same one at once."""

    def __init__(self, store: Store, *, most: int = 8) -> None:
        self._store = store
        self._most = most
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, str], Packed] = {}

    def get(self, project: str, name: str) -> Packed:
        """The document of this sha256.

        Raises
        ------
        NotFound
            If there is none, or it has been out of force for minutes.
        """
        if _NAME.fullmatch(name) is None:  # nothing the database would have to look for, or refuse
            raise _no_such()
        with self._lock:  # one of many who ask at once reads and compresses it
            found = self._kept.get((project, name))
            if found is None:
                found = self._kept[project, name] = self._read(project, name)
                while len(self._kept) > self._most:
                    self._kept.pop(next(iter(self._kept)))
            return found

    def _read(self, project: str, name: str) -> Packed:
        with self._store.reading() as work:
            body = work.exceptions.body(project, name)
        if body is None:
            raise _no_such()
        return Packed(sha256=name, body=body, packed=gzip.compress(body, 6, mtime=0))


def _no_such() -> NotFound:
    return NotFound("There is no such side document: read the ruleset again.")


def _document_answer(call: Call, found: Packed) -> Answer:
    headers = {
        "ETag": f'"{found.sha256}"',
        "Vary": "Accept-Encoding, Authorization",
        "Cache-Control": "private, max-age=31536000, immutable",
    }
    if call.request.if_none_match.contains_weak(found.sha256):
        return Answer(status=304, headers=headers)
    if call.request.accept_encodings["gzip"] > 0:
        return Answer(body=found.packed, headers={**headers, "Content-Encoding": "gzip"})
    return Answer(body=found.body, headers=headers)


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
