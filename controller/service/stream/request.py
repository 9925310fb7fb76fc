"""The little HTTP the stream process speaks: one GET, one answer, no body."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs

from controller.errors import ControllerError, Unauthenticated
from controller.service.http.problems import problem_answer, problem_of
from controller.service.http.refusals import ONE_HOST, BadHost, BadRequest, MethodNotAllowed

MOST_HEADERS: Final = 100
MOST_HEAD: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Head:
    """A request's path, its ticket and its headers (names in lower case)."""

    path: str
    ticket: str | None
    headers: Mapping[str, str]

    def bearer(self) -> str:
        """The key that came with the request.

        Raises
        ------
        Unauthenticated
            If there is none.
        """
        scheme, _, key = self.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not key:
            raise Unauthenticated("Come by the redirect of /v1/ruleset/stream, or send the key.")
        return key


async def read_head(reader: asyncio.StreamReader) -> Head:
    """One request's head.

    Raises
    ------
    BadRequest, BadHost, MethodNotAllowed
        If it cannot be read, names no host or two, or is no GET.
    asyncio.LimitOverrunError
        If it is longer than the reader's limit.
    """
    raw = await reader.readuntil(b"\r\n\r\n")
    first, *lines = raw.decode("latin-1").split("\r\n")[:-2]
    parts = first.split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1.") or len(lines) > MOST_HEADERS:
        raise BadRequest("This is not an HTTP/1.1 request.")
    if parts[0] != "GET":
        raise MethodNotAllowed(allowed=["GET"])
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise BadRequest("A header cannot be read.")
        if name.lower() == "host" and "host" in headers:
            raise BadHost(ONE_HOST)
        headers[name.lower()] = value.strip()
    if "host" not in headers and parts[2] == "HTTP/1.1":
        raise BadHost(ONE_HOST)
    path, _, query = parts[1].partition("?")
    tickets = parse_qs(query).get("ticket", [])
    return Head(path, tickets[0] if len(tickets) == 1 else None, headers)


def respond(
    writer: asyncio.StreamWriter,
    status: int,
    content: Mapping[str, Any] | str,
    headers: Mapping[str, str] | None = None,
) -> None:
    """Write a whole answer; the connection ends with it."""
    is_text = isinstance(content, str)
    body = content.encode() if isinstance(content, str) else json.dumps(content).encode()
    media = "application/problem+json" if status >= 400 else "application/json"
    named = {
        "Content-Type": "text/plain; version=0.0.4; charset=utf-8" if is_text else media,
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Connection": "close",
        **(headers or {}),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    writer.write(f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{lines}\r\n".encode() + body)


def refusal(error: ControllerError) -> tuple[int, Mapping[str, Any], Mapping[str, str]]:
    """Status, problem document and headers of an error."""
    problem = problem_of(error, instance="/v1/ruleset/stream")
    return problem.status, problem.document(), problem_answer(problem).headers
