"""The console's few files: one stylesheet, one script, the vendored htmx, an icon.

Each is served under a name that carries its content's digest and may be cached for ever.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from controller.errors import NotFound
from controller.service.http.calls import Answer, Call
from controller.service.http.router import Route, public

SOURCES: Final = {
    "console.css": "text/css; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "vendor/htmx-4.0.1.min.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
FOREVER: Final = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticFile:
    """One file, ready to send."""

    address: str
    media: str
    plain: bytes
    zipped: bytes


def static_files() -> dict[str, StaticFile]:
    """Every file of the console by its source name."""
    folder = files("controller.service.ui").joinpath("static")
    return {
        name: _static_file(name, media, folder.joinpath(name).read_bytes())
        for name, media in SOURCES.items()
    }


def _static_file(name: str, media: str, content: bytes) -> StaticFile:
    digest = hashlib.sha256(content).hexdigest()[:12]
    base, _, suffix = name.rpartition("/")[2].rpartition(".")
    return StaticFile(
        address=f"/static/{base}.{digest}.{suffix}",
        media=media,
        plain=content,
        zipped=gzip.compress(content, 9, mtime=0),
    )


def static_route(found: dict[str, StaticFile]) -> Route:
    """The one address that serves them."""
    by_address = {one.address: one for one in found.values()}

    def serve(call: Call) -> Answer:
        one = by_address.get(f"/static/{call.path['name']}")
        if one is None:
            raise NotFound("There is no such file.")
        headers = {"Cache-Control": FOREVER, "Vary": "Accept-Encoding"}
        if accepts_gzip(call):
            zipped = {**headers, "Content-Encoding": "gzip"}
            return Answer(body=one.zipped, media=one.media, headers=zipped)
        return Answer(body=one.plain, media=one.media, headers=headers)

    return Route(
        method="GET",
        path="/static/<name>",
        name="ui_static",
        summary="Stylesheet, scripts and icon of the console",
        access=public(),
        handler=serve,
        media="application/octet-stream",
        errors=(NotFound,),
        documented=False,
    )


def accepts_gzip(call: Call) -> bool:
    """Whether the browser takes gzip."""
    return call.request.accept_encodings["gzip"] > 0
