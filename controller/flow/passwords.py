"""Passwords as argon2id hashes, and random secrets of which only a hash is kept."""

from __future__ import annotations

import hashlib
import secrets
import threading
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from controller.errors import InvalidInput

LEAST_LENGTH: Final = 12
MOST_LENGTH: Final = 256

# OWASP's second recommendation for argon2id: 19 MiB, two passes, one lane. At most two at a time,
# so that a storm of sign-ins can neither fill the memory nor take every thread.
_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_AT_ONCE: Final = threading.BoundedSemaphore(2)


def hash_password(password: str, *, name: str = "") -> str:
    """The argon2id hash of a password that is good enough.

    Raises
    ------
    InvalidInput
        If it has fewer than 12 or more than 256 characters, fewer than five different ones, or
        is the operator's name.
    """
    if not LEAST_LENGTH <= len(password) <= MOST_LENGTH:
        raise InvalidInput(
            f"A password has {LEAST_LENGTH} to {MOST_LENGTH} characters.", field="password"
        )
    if len(set(password)) < 5 or password.casefold() == name.casefold():
        raise InvalidInput(
            "A password has at least five different characters and is not the name.",
            field="password",
        )
    with _AT_ONCE:
        return _HASHER.hash(password)


def check_password(stored: str | None, password: str) -> bool:
    """Whether the password is the stored one; takes as long where there is none to compare with."""
    with _AT_ONCE:
        try:
            _HASHER.verify(stored or _nobody(), password)
        except (VerificationError, InvalidHashError):
            return False
    return stored is not None


_nobodys_hash: list[str] = []


def _nobody() -> str:
    """The hash of a password nobody has."""
    if not _nobodys_hash:
        _nobodys_hash.append(_HASHER.hash(secrets.token_urlsafe(32)))
    return _nobodys_hash[0]


def new_secret(prefix: str) -> str:
    """256 random bits in letters that pass through addresses and shells."""
    return f"{prefix}{secrets.token_urlsafe(32)}"


def secret_hash(secret: str) -> str:
    """What is stored of a random secret: no salt is needed, there is nothing to guess."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
