"""What only an HTTP door refuses: how a request is written, not what it asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from controller.errors import ControllerError, InvalidInput


class MalformedJson(ControllerError):
    """The body is not JSON: RFC 8259, UTF-8, no byte order mark, no NaN or Infinity."""

    code = "malformed_json"


class TooDeep(MalformedJson):
    """The JSON is nested deeper than 32 levels."""

    code = "too_deep"


class DuplicateKey(MalformedJson):
    """An object names the same key twice, so it could be read in two ways."""

    code = "duplicate_key"


class TooManyKeys(MalformedJson):
    """An object has more than 1,000 keys."""

    code = "too_many_keys"


class WrongType(InvalidInput):
    """A value has another JSON type than this route reads there."""

    code = "wrong_type"


class MissingField(InvalidInput):
    """A required field is not there."""

    code = "missing_field"


class UnknownField(InvalidInput):
    """A field that this route does not know; a typing error is never ignored."""

    code = "unknown_field"


class BadUnicode(InvalidInput):
    """A text holds a NUL or a lone surrogate, which no store can keep."""

    code = "bad_unicode"


class OutOfRange(InvalidInput):
    """A number is larger than this service can keep."""

    code = "out_of_range"


class NonFinite(InvalidInput):
    """A number is too large for a double and would become infinite."""

    code = "non_finite"


class TooLong(InvalidInput):
    """A text is longer than this route reads."""

    code = "too_long"


class UnsupportedMediaType(ControllerError):
    """The body's Content-Type or Content-Encoding is not one this route reads."""

    code = "unsupported_media_type"


class BadEncoding(ControllerError):
    """The body's gzip data is damaged, cut off or followed by something else."""

    code = "bad_encoding"


class BodyTooLarge(ControllerError):
    """The body is larger than this route reads."""

    code = "body_too_large"


class InflatedTooLarge(ControllerError):
    """The body grows past the limit when it is decompressed."""

    code = "inflated_too_large"


class BadRequest(ControllerError):
    """The request line, a header or the framing of the body cannot be read."""

    code = "bad_request"


class BadPath(ControllerError):
    """The address holds an empty, relative, encoded or otherwise ambiguous part."""

    code = "bad_path"


ONE_HOST: Final = "A request names one Host (RFC 9112, section 3.2)."


class BadHost(ControllerError):
    """The Host header is missing or doubled, or names a host this service does not answer for."""

    code = "bad_host"


class UriTooLong(ControllerError):
    """The address is longer than 4 KiB."""

    code = "uri_too_long"


class TooManyParameters(ControllerError):
    """The address has more than 50 parameters."""

    code = "too_many_parameters"


class RepeatedParameter(InvalidInput):
    """A parameter stands twice in the address."""

    code = "repeated_parameter"


class RouteNotFound(ControllerError):
    """There is no such address."""

    code = "route_not_found"


class MethodNotAllowed(ControllerError):
    """The address exists, but not with this method."""

    code = "method_not_allowed"

    def __init__(self, message: str | None = None, *, allowed: Sequence[str] = ()) -> None:
        super().__init__(message, allowed=list(allowed))
        self.allowed = tuple(allowed)


class CsrfRefused(ControllerError):
    """The form did not come from this console, or its session has ended: reload and try again."""

    code = "csrf_refused"


class NotConfirmed(ControllerError):
    """You last gave your password some time ago: give it again to do this."""

    code = "not_confirmed"


class OriginRefused(ControllerError):
    """This key may not be used from this website."""

    code = "origin_refused"


class RateLimited(ControllerError):
    """Too many requests: wait as long as Retry-After says."""

    code = "rate_limited"

    def __init__(self, message: str | None = None, *, retry_after: int = 1) -> None:
        super().__init__(message, retry_after=retry_after)
        self.retry_after = retry_after


class Overloaded(ControllerError):
    """This process serves as many streams as it can; try again in a moment."""

    code = "overloaded"

    def __init__(self, message: str | None = None, *, retry_after: int = 5) -> None:
        super().__init__(message, retry_after=retry_after)
        self.retry_after = retry_after


class InProgress(ControllerError):
    """The first request with this Idempotency-Key is still being carried out."""

    code = "in_progress"


class InternalError(ControllerError):
    """Something failed that should not have; it was logged."""

    code = "internal_error"
