"""The one place that knows how an error looks in HTTP: RFC 9457 problem details.

Every `code` has a stable type URI, `/problems/CODE`, and a page in `docs/reference/problems/`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from controller import errors
from controller.errors import ControllerError
from controller.service.http import refusals
from controller.service.http.calls import Answer, encode

MEDIA: Final = "application/problem+json"
RETRY_SECONDS: Final = 5
MOST_ECHO: Final = 400

STATUS: Final[dict[type[ControllerError], int]] = {
    ControllerError: 400,
    errors.InvalidInput: 422,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.GuardFailed: 422,
    errors.StaleVersion: 412,
    errors.PreconditionRequired: 428,
    errors.PolicyNotAllowed: 403,
    errors.BaselineUnknown: 422,
    errors.PlanInfeasible: 422,
    errors.QuorumImpossible: 422,
    errors.NotPermitted: 403,
    errors.Unauthenticated: 401,
    errors.IdempotencyMismatch: 422,
    errors.Unavailable: 503,
    errors.RulesetRefused: 503,
    errors.LeaseLost: 503,
    errors.SetupFailed: 503,
    refusals.UnsupportedMediaType: 415,
    refusals.BadEncoding: 400,
    refusals.BodyTooLarge: 413,
    refusals.InflatedTooLarge: 413,
    refusals.BadRequest: 400,
    refusals.BadPath: 400,
    refusals.BadHost: 400,
    refusals.UriTooLong: 414,
    refusals.TooManyParameters: 400,
    refusals.RouteNotFound: 404,
    refusals.MethodNotAllowed: 405,
    refusals.CsrfRefused: 403,
    refusals.NotConfirmed: 403,
    refusals.OriginRefused: 403,
    refusals.RateLimited: 429,
    refusals.Overloaded: 503,
    refusals.InProgress: 409,
    refusals.InternalError: 500,
}
"""Statuses by class; a class that is not named has its nearest base's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One refusal as the outside sees it."""

    code: str
    status: int
    title: str
    detail: str
    instance: str
    details: dict[str, Any]

    @property
    def type(self) -> str:
        """The stable URI of the problem's type."""
        return type_uri(self.code)

    def document(self) -> dict[str, Any]:
        """The JSON form; the error's own details stand beside the fields of RFC 9457."""
        return {
            **self.details,
            "type": self.type,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": self.instance,
            "code": self.code,
        }


def type_uri(code: str) -> str:
    """The stable URI of a problem type."""
    return f"/problems/{code}"


def status_of(kind: type[ControllerError]) -> int:
    """The status of an error class."""
    return next(STATUS[base] for base in kind.__mro__ if base in STATUS)


def title_of(kind: type[ControllerError]) -> str:
    """The first sentence of the class's help, without its full stop."""
    return (kind.__doc__ or "").strip().splitlines()[0].rstrip(".")


def problem_of(error: ControllerError, *, instance: str) -> Problem:
    """The problem that tells of an error; text is cut so that nothing long is echoed."""
    return Problem(
        code=error.code,
        status=status_of(type(error)),
        title=title_of(type(error)),
        detail=_short(error.message),
        instance=instance,
        details={key: value for key, value in error.details.items() if value is not None},
    )


def problem_answer(problem: Problem) -> Answer:
    """The answer that carries a problem, with the headers its status asks for."""
    headers: dict[str, str] = {"Cache-Control": "no-store"}
    if problem.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="rollout-controller"'
    if problem.status in (429, 503):
        headers["Retry-After"] = str(problem.details.get("retry_after", RETRY_SECONDS))
    if problem.code == refusals.MethodNotAllowed.code:
        headers["Allow"] = ", ".join(problem.details.get("allowed", ()))
    return Answer(
        status=problem.status, body=encode(problem.document()), media=MEDIA, headers=headers
    )


def every_error() -> Iterator[type[ControllerError]]:
    """Every error class with a code of its own, base first."""
    seen: set[str] = set()
    waiting: list[type[ControllerError]] = [ControllerError]
    while waiting:
        kind = waiting.pop(0)
        if kind.code not in seen:
            seen.add(kind.code)
            yield kind
        waiting.extend(sorted(kind.__subclasses__(), key=lambda one: one.code))


def _short(text: str) -> str:
    clean = "".join(c if c.isprintable() else " " for c in text)
    return clean if len(clean) <= MOST_ECHO else clean[: MOST_ECHO - 1] + "…"
