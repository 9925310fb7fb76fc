"""One way to write a document as bytes, so that its sha256 names it.

Canonical JSON here is UTF-8, keys sorted by code point, no white space, shortest round-trip floats
and no NaN or infinity: the same document gives the same bytes on every machine and every day.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from controller.errors import InvalidInput


def canonical_json(document: Any) -> bytes:
    """Canonical bytes of a document made of dicts, lists, text, numbers, booleans and None.

    Raises
    ------
    InvalidInput
        If it holds NaN, an infinity or something JSON cannot say.
    """
    try:
        text = json.dumps(
            document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        )
        return text.encode("utf-8")
    except (TypeError, ValueError) as problem:
        raise InvalidInput(f"This cannot be written as canonical JSON: {problem}.") from problem


def sha256_of(document: Any) -> str:
    """Lower-case hex sha256 of the canonical bytes of `document`."""
    return hashlib.sha256(canonical_json(document)).hexdigest()
