"""Reading definitions written by people: strict, and with sentences that say what to write instead.

A `Fields` wraps one mapping, is asked for each key it may hold, and at the end refuses every key
nobody asked for. Every refusal names the place ("policy.ramp[2].dwell") and the rule. Whoever draws
up a schema of what is read listens meanwhile (`listening`, see `schema.py`).
"""

from __future__ import annotations

import difflib
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum
from typing import Any, TypeVar

from controller.errors import InvalidInput

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_LARGEST = sys.float_info.max
_KEY = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")

Choice = TypeVar("Choice", bound=StrEnum)

Listener = Callable[[str, Mapping[str, Any]], None]
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)

NAME = {"type": "string", "pattern": f"^{_KEY.pattern}$"}
DURATION = {"type": "string", "pattern": rf"^({_DURATION.pattern})+$"}
SHARE = {
    "anyOf": [
        {"type": "number", "minimum": 0, "maximum": 1},
        {"type": "string", "pattern": "^[^%]+%$"},
    ]
}


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Have every place that is read in this context told, with the JSON schema of what it holds."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def describe(where: str, schema: Mapping[str, Any], **default: Any) -> None:
    """Tell a listener what may stand at a place; `default` is what its absence means."""
    listener = _listener.get()
    if listener is not None:
        said = {name: value for name, value in default.items() if value is not None}
        listener(where, {**schema, **said})


def parse_duration(value: Any, where: str) -> float:
    """Seconds of a duration such as `90s`, `15m`, `24h`, `14d` or `1h30m`."""
    if isinstance(value, str):
        parts = _DURATION.findall(value)
        if parts and "".join(number + unit for number, unit in parts) == value:
            return sum(float(number) * _SECONDS[unit] for number, unit in parts)
    raise InvalidInput(
        f'{where}: expected a duration like "90s", "15m", "24h" or "14d", not {value!r:.60}.',
        field=where,
    )


def format_duration(seconds: float) -> str:
    """The shortest duration string that reads back as `seconds`."""
    for unit in ("w", "d", "h", "m", "s"):
        size = _SECONDS[unit]
        if seconds >= size and (seconds / size).is_integer():
            return f"{int(seconds // size)}{unit}"
    return f"{seconds * 1000:g}ms" if seconds < 1 else f"{seconds:g}s"


def parse_share(value: Any, where: str) -> float:
    """A share in [0, 1] from a number or a string such as `"10%"`."""
    if isinstance(value, str) and value.endswith("%"):
        try:
            share = float(value[:-1]) / 100.0
        except ValueError:
            share = math.nan
    elif isinstance(value, int | float) and not isinstance(value, bool):
        share = float(value) if abs(value) <= _LARGEST else math.nan
        if 1 < share <= 100:
            raise InvalidInput(
                f'{where}: a share lies in [0, 1]; did you mean {share / 100:.2f} or "{value}%"?',
                field=where,
            )
    else:
        share = math.nan
    if not 0 <= share <= 1:
        raise InvalidInput(
            f'{where}: expected a share in [0, 1] or a string like "10%", not {value!r:.60}.',
            field=where,
        )
    return share


def check_key(value: Any, where: str) -> str:
    """A name that is safe in paths, keys and files: lower-case letters, digits, `.`, `_`, `-`."""
    describe(where, NAME)
    if isinstance(value, str) and _KEY.fullmatch(value):
        return value
    raise InvalidInput(
        f"{where}: a key has 1 to 64 lower-case letters, digits, '.', '_' or '-' and starts with "
        f"a letter or digit; got {value!r:.80}.",
        field=where,
    )


class Fields:
    """One mapping being read: ask for every key it may hold, then call `done`."""

    def __init__(self, document: Any, where: str) -> None:
        if not isinstance(document, Mapping):
            raise InvalidInput(
                f"{where}: expected an object, not {type(document).__name__}.", field=where
            )
        for key in document:
            if not isinstance(key, str):
                raise InvalidInput(f"{where}: keys are text, not {key!r:.60}.", field=where)
        self._document = document
        self._asked: set[str] = set()
        self.where = where
        describe(where, {"type": "object"})

    def at(self, key: str) -> str:
        """The place of `key`, as it is named in messages."""
        return f"{self.where}.{key}" if self.where else key

    def has(self, key: str) -> bool:
        """Whether the key is present with something other than null."""
        self._asked.add(key)
        return self._document.get(key) is not None

    def raw(self, key: str, default: Any = None) -> Any:
        """The value as it stands, or the default where it is absent or null."""
        self._asked.add(key)
        describe(self.at(key), {})
        value = self._document.get(key)
        return default if value is None else value

    def _required(self, key: str) -> Any:
        if not self.has(key):
            raise InvalidInput(f"{self.at(key)}: is required.", field=self.at(key))
        return self._document[key]

    def text(self, key: str, default: str | None = None, *, most: int = 1000) -> str:
        """Non-empty text of at most `most` characters; required where no default is given."""
        longest = {"type": "string", "maxLength": most}
        filled = {} if default is not None else {"pattern": r"\S"}
        describe(self.at(key), {**longest, **filled}, default=default)
        value = self.raw(key, default) if default is not None else self._required(key)
        if not isinstance(value, str) or (not value.strip() and default is None):
            raise InvalidInput(f"{self.at(key)}: expected text.", field=self.at(key))
        if len(value) > most or any(0xD800 <= ord(c) <= 0xDFFF or c == "\0" for c in value):
            raise InvalidInput(
                f"{self.at(key)}: expected at most {most} characters of valid text.",
                field=self.at(key),
            )
        return value

    def optional_text(self, key: str, *, most: int = 1000) -> str | None:
        """Text, or None where the key is absent."""
        return self.text(key, most=most) if self.has(key) else None

    def key(self, key: str) -> str:
        """A required name, see `check_key`."""
        return check_key(self._required(key), self.at(key))

    def flag(self, key: str, *, default: bool) -> bool:
        """A boolean."""
        describe(self.at(key), {"type": "boolean"}, default=default)
        value = self.raw(key, default)
        if not isinstance(value, bool):
            raise InvalidInput(f"{self.at(key)}: expected true or false.", field=self.at(key))
        return value

    def number(
        self,
        key: str,
        default: float | None = None,
        *,
        above: float = -math.inf,
        least: float = -math.inf,
        most: float = math.inf,
    ) -> float:
        """A finite number with `above < number`, `least <= number <= most`."""
        limits = {"exclusiveMinimum": above, "minimum": least, "maximum": most}
        said = {name: limit for name, limit in limits.items() if math.isfinite(limit)}
        describe(self.at(key), {"type": "number", **said}, default=default)
        value = self.raw(key, default) if default is not None else self._required(key)
        good = isinstance(value, int | float) and not isinstance(value, bool)
        if not good or abs(value) > _LARGEST or not (above < value and least <= value <= most):
            low = f"> {above:g}" if above > -math.inf else f">= {least:g}"
            high = f" and <= {most:g}" if most < math.inf else ""
            bounds = (
                f" {low}{high}" if (above, least, most) != (-math.inf, -math.inf, math.inf) else ""
            )
            raise InvalidInput(
                f"{self.at(key)}: expected a number{bounds}, not {value!r:.40}.", field=self.at(key)
            )
        return float(value)

    def optional_number(
        self,
        key: str,
        *,
        above: float = -math.inf,
        least: float = -math.inf,
        most: float = math.inf,
    ) -> float | None:
        """A number, or None where the key is absent."""
        return self.number(key, above=above, least=least, most=most) if self.has(key) else None

    def integer(
        self, key: str, default: int | None = None, *, least: int, most: int = 10**12
    ) -> int:
        """A whole number in [least, most]."""
        said = {"type": "integer", "minimum": least, "maximum": most}
        describe(self.at(key), said, default=default)
        value = self.raw(key, default) if default is not None else self._required(key)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise InvalidInput(
                f"{self.at(key)}: expected a whole number in [{least}, {most}], not {value!r:.40}.",
                field=self.at(key),
            )
        return value

    def share(self, key: str, default: float | None = None) -> float:
        """A share, see `parse_share`."""
        describe(self.at(key), SHARE, default=default)
        return parse_share(
            self.raw(key, default) if default is not None else self._required(key), self.at(key)
        )

    def duration(self, key: str, default: float | None = None) -> float:
        """Seconds of a duration, see `parse_duration`; a default is given in seconds."""
        written = None if default is None else format_duration(default)
        describe(self.at(key), DURATION, default=written)
        if default is not None and not self.has(key):
            return default
        return parse_duration(self._required(key), self.at(key))

    def choice(self, key: str, kind: type[Choice], default: Choice | None = None) -> Choice:
        """One word of a closed list."""
        words = [member.value for member in kind]
        usual = None if default is None else default.value
        describe(self.at(key), {"enum": words}, default=usual)
        value = self.raw(key, default) if default is not None else self._required(key)
        try:
            return kind(value)
        except ValueError:
            raise InvalidInput(
                f"{self.at(key)}: expected one of {', '.join(words)}; got {value!r:.60}.",
                field=self.at(key),
            ) from None

    def items(self, key: str, *, most: int = 100) -> list[Any]:
        """A list of at most `most` entries; empty where the key is absent."""
        describe(self.at(key), {"type": "array", "maxItems": most})
        value = self.raw(key, [])
        if not isinstance(value, list | tuple) or len(value) > most:
            raise InvalidInput(
                f"{self.at(key)}: expected a list of at most {most} entries.", field=self.at(key)
            )
        return list(value)

    def child(self, key: str) -> Fields:
        """The nested object under `key`; an absent one reads as empty."""
        return Fields(self.raw(key, {}), self.at(key))

    def done(self) -> None:
        """Refuse every key nobody asked for.

        Raises
        ------
        InvalidInput
            Naming the unknown key and the closest known one.
        """
        for key in self._document:
            if key not in self._asked:
                near = difflib.get_close_matches(str(key), sorted(self._asked), n=1)
                hint = f"; did you mean {near[0]!r}?" if near else "."
                raise InvalidInput(
                    f"{self.at(str(key)[:80])}: is not a known key{hint}",
                    field=self.at(str(key)[:80]),
                )
