"""The command line's way to the service: one small HTTP client over the standard library."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import Request, urlopen

from controller.cli.exits import Exit
from controller.errors import SetupFailed
from controller.settings import from_environment

TIMEOUT_SECONDS: Final = 60.0
_BY_CODE: Final = {"guard_failed": Exit.HELD, "invalid_input": Exit.USAGE}
_BY_STATUS: Final = {
    400: Exit.USAGE,
    401: Exit.NOT_PERMITTED,
    403: Exit.NOT_PERMITTED,
    404: Exit.NOT_FOUND,
    409: Exit.CONFLICT,
    412: Exit.CONFLICT,
    422: Exit.USAGE,
    428: Exit.USAGE,
}


class ProblemAnswer(Exception):
    """The service said no: its problem document, and the exit code that fits."""

    def __init__(self, status: int, document: dict[str, Any]) -> None:
        super().__init__(str(document.get("detail") or document.get("title") or status))
        self.status = status
        self.document = document

    @property
    def exit(self) -> Exit:
        """What the command exits with."""
        code = str(self.document.get("code", ""))
        return _BY_CODE.get(code) or _BY_STATUS.get(self.status, Exit.FAILURE)


class ServiceClient:
    """Calls the API as one operator or with one key."""

    def __init__(self, url: str, token: str, *, project: str = "default") -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._project = project

    def get(self, path: str, **query: Any) -> Any:
        """The JSON answer of a GET."""
        return self.call("GET", path, query=query)[0]

    def call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[Any, str | None]:
        """JSON answer and ETag of one call.

        Raises
        ------
        ProblemAnswer
            If the service refuses.
        SetupFailed
            If it cannot be reached.
        """
        asked = {key: value for key, value in (query or {}).items() if value is not None}
        address = f"{self.url}{path}" + (f"?{urlencode(asked)}" if asked else "")
        request = Request(  # noqa: S310 - the scheme was checked when the client was made
            address,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self._token}",
                "Controller-Project": self._project,
                "Accept": "application/json",
                **({"Content-Type": "application/json"} if body is not None else {}),
                **(headers or {}),
            },
        )
        try:
            with urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
                raw = answer.read()
                return (json.loads(raw) if raw else None), answer.headers.get("ETag")
        except HTTPError as problem:
            raise ProblemAnswer(problem.code, _document(problem.read())) from problem
        except (URLError, OSError, ValueError) as problem:
            raise SetupFailed(
                f"The service at {self.url} does not answer ({problem}): "
                "is `controller up` running, and does CONTROLLER_URL name it?"
            ) from problem


def connect(*, project: str = "default", operator: str | None = None) -> ServiceClient:
    """A client from `CONTROLLER_URL` and a token or key, else from the data directory.

    `CONTROLLER_TOKEN` is an operator's token; `CONTROLLER_KEY`, a service key, cannot vote.
    Without the variables, `credentials.json` in the data directory names the address, and the token
    of `operator` (default: admin).

    Raises
    ------
    SetupFailed
        If neither says where the service is.
    """
    url = os.environ.get("CONTROLLER_URL", "")
    token = os.environ.get("CONTROLLER_TOKEN") or os.environ.get("CONTROLLER_KEY", "")
    if not (url and token):
        path = from_environment().data_dir / "credentials.json"
        document = _credentials(path)
        url = url or document["url"]
        token = token or _token(document, operator or "admin", path)
    if urlsplit(url).scheme not in ("http", "https"):
        raise SetupFailed(f"CONTROLLER_URL must be an http or https address, not {url!r:.80}.")
    return ServiceClient(url, token, project=project)


def segment(text: str) -> str:
    """One path segment, escaped."""
    return quote(text, safe="")


def _token(document: dict[str, Any], operator: str, path: Path) -> str:
    known = document["operators"].get(operator)
    if known is None:
        raise SetupFailed(
            f"{path} holds no token of {operator!r:.80}: set CONTROLLER_TOKEN (POST /v1/tokens "
            "gives one for a password), or run this where the service was started first."
        )
    return str(known["token"])


def _credentials(path: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as problem:
        raise SetupFailed(
            f"No address and token: set CONTROLLER_URL and CONTROLLER_TOKEN, or run beside {path}."
        ) from problem
    return document


def _document(raw: bytes) -> dict[str, Any]:
    try:
        document = json.loads(raw)
    except ValueError:
        document = None
    return (
        document if isinstance(document, dict) else {"detail": raw[:200].decode(errors="replace")}
    )
