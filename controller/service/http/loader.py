"""The strict reader in front of every handler: bytes in, one checked value out.

Framing first (media type, size, gzip), then the text (UTF-8, RFC 8259, no key twice, bounded
depth), then the type (msgspec, unknown fields refused). Nothing is guessed or dropped.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec
from gunicorn.http.errors import ParseException  # type: ignore[import-untyped]
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge
from werkzeug.wrappers import Request

from controller.errors import InvalidInput
from controller.plain_yaml import KeyTwice, NotFinite, read_yaml
from controller.service.http.refusals import (
    BadEncoding,
    BadRequest,
    BadUnicode,
    BodyTooLarge,
    DuplicateKey,
    InflatedTooLarge,
    MalformedJson,
    MissingField,
    NonFinite,
    OutOfRange,
    RepeatedParameter,
    TooDeep,
    TooLong,
    TooManyKeys,
    TooManyParameters,
    UnknownField,
    UnsupportedMediaType,
    WrongType,
)

T = TypeVar("T")

MOST_BYTES: Final = 1024 * 1024
MOST_INFLATED: Final = 8 * 1024 * 1024
MOST_RATIO: Final = 100
MOST_DEPTH: Final = 32
MOST_KEYS: Final = 1000
MOST_TEXT: Final = 64 * 1024
MOST_DIGITS: Final = 19
MOST_PARAMETERS: Final = 50
MOST_YAML: Final = 64 * 1024

WHOLE_BODY: Final = "controller.body"
"""Where our worker puts a body that came whole, exactly as long as Content-Length says."""

JSON_TYPES: Final = frozenset({"application/json"})
YAML_TYPES: Final = frozenset({"application/yaml", "application/x-yaml", "text/yaml"})
FORM_TYPES: Final = frozenset({"application/x-www-form-urlencoded"})


# ---------------------------------------------------------------- framing


def read_body(request: Request, *, types: frozenset[str], gzip: bool = False) -> bytes:
    """The body's bytes, decompressed, of one of the media types a route reads.

    Raises
    ------
    UnsupportedMediaType
        If Content-Type is absent or another one, or Content-Encoding is not read here.
    BodyTooLarge, InflatedTooLarge, BadEncoding
        If it is larger than 1 MiB as sent or 8 MiB unpacked, or does not unpack.
    """
    check_media(request, types)
    raw = _bounded(request)
    encoding = request.environ.get("HTTP_CONTENT_ENCODING", "identity").strip().lower()
    if encoding == "identity":
        return raw
    if encoding != "gzip" or not gzip:
        raise UnsupportedMediaType(f"Content-Encoding {encoding!r:.40} is not read here.")
    return inflate(raw)


def check_media(request: Request, types: frozenset[str]) -> None:
    """Refuse any media type but those named, and any character set but UTF-8."""
    said = request.environ.get("CONTENT_TYPE", "")
    if said in types:
        return
    media, _, rest = said.partition(";")
    parameter = rest.strip().lower().replace('"', "")
    if media.strip().lower() not in types or parameter not in ("", "charset=utf-8"):
        wanted = " or ".join(sorted(types))
        raise UnsupportedMediaType(f"Send {wanted} in UTF-8, and say so in Content-Type.")


def _bounded(request: Request) -> bytes:
    whole = request.environ.get(WHOLE_BODY)
    if isinstance(whole, bytes) and len(whole) <= MOST_BYTES:
        return whole
    length = request.headers.get("Content-Length")
    if length is not None and not (length.isascii() and length.isdigit()):
        raise BadRequest("Content-Length is not a number.")
    if length is not None and int(length) > MOST_BYTES:
        raise BodyTooLarge(f"The body is larger than {MOST_BYTES} bytes; send it in parts.")
    request.max_content_length = MOST_BYTES + 1  # a chunked body is cut there, not refused
    try:
        raw = request.get_data(cache=False, parse_form_data=False)
    except RequestEntityTooLarge as error:
        raise BodyTooLarge(
            f"The body is larger than {MOST_BYTES} bytes; send it in parts."
        ) from error
    except (ClientDisconnected, ParseException, OSError) as error:
        raise BadRequest("The body cannot be read to its end.") from error
    if len(raw) > MOST_BYTES:
        raise BodyTooLarge(f"The body is larger than {MOST_BYTES} bytes; send it in parts.")
    if length is not None and len(raw) < int(length):
        raise BadRequest("The body ended before Content-Length.")
    return raw


def inflate(raw: bytes) -> bytes:
    """One gzip member, unpacked to at most 8 MiB and 100 times its size."""
    limit = min(MOST_INFLATED, max(len(raw), 1) * MOST_RATIO)
    unpacker = zlib.decompressobj(wbits=31)
    try:
        data = unpacker.decompress(raw, limit + 1)
    except zlib.error as error:
        raise BadEncoding("The body is not gzip.") from error
    if len(data) > limit:
        raise InflatedTooLarge(
            f"The body unpacks to more than {MOST_INFLATED} bytes or {MOST_RATIO} times its size."
        )
    if not unpacker.eof or unpacker.unused_data:
        raise BadEncoding("The gzip data is cut off or followed by something else.")
    return data


# ---------------------------------------------------------------- text


def parse_json(raw: bytes) -> Any:
    """The value of strict JSON text.

    Raises
    ------
    MalformedJson
        If it is not RFC 8259 in UTF-8, or is nested deeper than 32 levels, names a key twice in one
        object, or more than 1,000 keys.
    BadUnicode, NonFinite, OutOfRange, TooLong
        If a value cannot be kept.
    """
    if not raw.strip():
        raise MalformedJson("The body is empty.")
    try:
        text = raw.decode("utf-8")
        value = _DECODER.decode(text)
    except UnicodeDecodeError as error:
        raise MalformedJson(f"The body is not UTF-8 at byte {error.start}.") from error
    except RecursionError as error:
        raise TooDeep(f"The JSON is nested deeper than {MOST_DEPTH} levels.") from error
    except json.JSONDecodeError as error:
        raise MalformedJson(
            f"The body is not JSON at line {error.lineno}, column {error.colno}: {error.msg}."
        ) from error
    if not _is_harmless(raw):
        _check_values(value)
    return value


def _is_harmless(raw: bytes) -> bool:
    """Whether `_check_values` could find nothing in text that was decoded: short, flat, unescaped.

    Without an escape there is no lone surrogate (UTF-8 has none) and no NUL (JSON allows none).
    """
    return (
        len(raw) <= MOST_TEXT
        and b"\\u" not in raw
        and raw.count(b"[") + raw.count(b"{") < MOST_DEPTH
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise DuplicateKey(f"The key {twice!r:.80} stands twice in one object.")
    _check_number_of_keys(found)
    return found


def _check_number_of_keys(found: Mapping[str, Any]) -> None:
    if len(found) > MOST_KEYS:
        raise TooManyKeys(f"An object has more than {MOST_KEYS} keys.")


def _number(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise NonFinite(f"The number {text!r:.40} is too large for a double.")
    return value


def _integer(text: str) -> int:
    if len(text.lstrip("-")) > MOST_DIGITS:
        raise OutOfRange(f"The number {text!r:.40} has more than {MOST_DIGITS} digits.")
    return int(text)


def _constant(text: str) -> Any:
    raise MalformedJson(f"{text} is not JSON; leave the field out or send null.")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_number, parse_int=_integer, parse_constant=_constant
)


def _check_values(value: Any) -> None:
    """Depth and text of a parsed value, without recursion."""
    level: list[Any] = [value]
    for depth in range(MOST_DEPTH + 1):
        if depth == MOST_DEPTH and any(isinstance(item, dict | list) for item in level):
            raise TooDeep(f"The JSON is nested deeper than {MOST_DEPTH} levels.")
        below: list[Any] = []
        for item in level:
            if isinstance(item, str):
                check_text(item)
            elif isinstance(item, dict):
                _check_number_of_keys(item)
                for key in item:
                    check_text(key)
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
        if not below:
            return
        level = below


_BAD_TEXT: Final = re.compile("[\x00\ud800-\udfff]")


def check_text(text: str) -> None:
    """Refuse what no store can keep: NUL, lone surrogates, and texts beyond 64 KiB."""
    if _BAD_TEXT.search(text):
        raise BadUnicode("A text holds a NUL or a lone surrogate.")
    if len(text) > MOST_TEXT:
        raise TooLong(f"A text is longer than {MOST_TEXT} characters.")


def parse_yaml(raw: bytes) -> Any:
    """The value of a YAML definition, as JSON could have said it.

    Raises
    ------
    BodyTooLarge
        If it has more than 64 KiB: reading YAML takes its time.
    MalformedJson
        If it is not YAML, or uses tags, aliases or keys that JSON has not.
    """
    if len(raw) > MOST_YAML:
        raise BodyTooLarge(
            f"A YAML definition has at most {MOST_YAML} bytes; larger ones are JSON."
        )
    try:
        value = read_yaml(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise MalformedJson(f"The body is not UTF-8 at byte {error.start}.") from error
    except RecursionError as error:
        raise TooDeep(f"The YAML is nested deeper than {MOST_DEPTH} levels.") from error
    except KeyTwice as error:
        raise DuplicateKey(f"The YAML is ambiguous: {error}.") from error
    except NotFinite as error:
        raise NonFinite(f"The YAML has no meaning in JSON: {error}.") from error
    except ValueError as error:
        raise MalformedJson(f"The body is not a plain YAML document: {error}.") from error
    _check_values(value)
    return value


# ---------------------------------------------------------------- types


def typed(value: Any, kind: type[T], *, strict: bool = True) -> T:
    """A parsed value as an instance of a wire type.

    Raises
    ------
    WrongType, MissingField, UnknownField, InvalidInput
        Naming the field.
    """
    try:
        return msgspec.convert(value, kind, strict=strict)
    except msgspec.ValidationError as error:
        raise refused_type(str(error)) from error


_PLACE: Final = re.compile(r" - at `(?:key in )?\$\.?(.*)`$")
_WORDS: Final = (("`str`", "a string"), ("`int`", "a whole number"), ("`float`", "a number"))
_FIELD: Final = re.compile(r"(?:unknown|required) field `([^`]*)`")


def refused_type(message: str) -> InvalidInput:
    """The refusal behind one of msgspec's messages."""
    place = _PLACE.search(message)
    where = place[1] if place else ""
    said = _PLACE.sub("", message)
    named = _FIELD.search(said)
    if named is not None:
        field = f"{where}.{named[1]}" if where else named[1]
        kind = UnknownField if "unknown" in said else MissingField
        word = "is not a known field" if kind is UnknownField else "is required"
        return kind(f"{field:.100}: {word}.", field=field[:100])
    is_type = said.startswith("Expected `") and ", got " in said
    for ours, theirs in _WORDS:
        said = said.replace(ours, theirs)
    shown = f"{where}: {said[:1].lower()}{said[1:]}." if where else f"{said}."
    kind_said = WrongType if is_type else InvalidInput
    return kind_said(shown, field=where)


# ---------------------------------------------------------------- query strings and forms


def read_query(request: Request, kind: type[T] | None) -> T | None:
    """The address's parameters as an instance of a route's query type.

    Raises
    ------
    TooManyParameters, RepeatedParameter, UnknownField, InvalidInput
        If there are more than 50, one stands twice, is not known or cannot be read.
    """
    if not request.environ.get("QUERY_STRING"):
        return None if kind is None else typed({}, kind, strict=False)
    if request.query_string.count(b"&") >= MOST_PARAMETERS:
        raise TooManyParameters(f"At most {MOST_PARAMETERS} parameters are read.")
    values = _once(request.args)
    if kind is None:
        if values:
            name = next(iter(values))
            raise UnknownField(f"{name:.100}: this address has no parameters.", field=name[:100])
        return None
    return typed(values, kind, strict=False)


def read_form(request: Request) -> dict[str, str]:
    """The fields of an urlencoded form, each once.

    Raises
    ------
    UnsupportedMediaType, BodyTooLarge, RepeatedParameter, BadUnicode
        If it is not one, too large, or a field stands twice or cannot be kept.
    """
    check_media(request, FORM_TYPES)
    request.max_content_length = MOST_BYTES
    request.max_form_memory_size = MOST_BYTES
    try:
        return _once(request.form)
    except RequestEntityTooLarge as error:
        raise BodyTooLarge from error


def _once(values: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    fields: Mapping[str, list[str]] = values.to_dict(flat=False)
    for name, texts in fields.items():
        if len(texts) > 1:
            raise RepeatedParameter(f"{name:.100}: stands more than once.", field=name[:100])
        check_text(name)
        check_text(texts[0])
        found[name] = texts[0]
    return found
