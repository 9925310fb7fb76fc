"""Headers that every answer carries, errors included."""

from __future__ import annotations

from typing import Final

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)

ALWAYS: Final[tuple[tuple[str, str], ...]] = (
    ("Content-Security-Policy", CONTENT_SECURITY_POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    (
        "Permissions-Policy",
        "camera=(), geolocation=(), microphone=(), payment=(), usb=(), interest-cohort=()",
    ),
)
HSTS: Final = ("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
NO_STORE: Final = ("Cache-Control", "no-store")

_STANDING: Final = {False: [*ALWAYS, NO_STORE], True: [*ALWAYS, NO_STORE, HSTS]}
_NAMES: Final = frozenset(name.lower() for name, _ in _STANDING[True])


def with_security(headers: list[tuple[str, str]], *, secure: bool) -> list[tuple[str, str]]:
    """The answer's headers with the standing ones added; what it set itself stays."""
    standing = _STANDING[secure]
    present = {name.lower() for name, _ in headers}
    if present.isdisjoint(_NAMES):
        return headers + standing
    return headers + [(name, value) for name, value in standing if name.lower() not in present]
