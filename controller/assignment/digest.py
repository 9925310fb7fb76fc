"""SHA-256 as the interpreter itself has it.

The digest is the same whoever computes it (the conformance vectors check). `hashlib` prefers
OpenSSL's, which takes 4 MB and several milliseconds to load into every process of an application
and is slower for messages as short as a unit id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import sha256
else:
    try:
        from _sha2 import sha256  # CPython 3.12 and newer
    except ImportError:
        try:
            from _sha256 import sha256  # CPython 3.11
        except ImportError:
            from hashlib import sha256  # an interpreter built without its own hashes

__all__ = ["sha256"]
