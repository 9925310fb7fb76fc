"""Keys and the signature over a ruleset: what lets an SDK refuse a ruleset that is not for it.

A key ``rc_<id>_<secret>`` has two halves, each derived from the secret by HMAC-SHA256 under its own
label. The server stores the key's id, a hash of the authentication half (so that its database holds
nothing that opens the door) and the signing half. It signs each ruleset answer for the key that
asked; the SDK, which has the secret, derives the same signing half and checks.
"""

from __future__ import annotations

import re
from _operator import _compare_digest

from controller.assignment.digest import sha256
from controller.errors import InvalidInput

SIGNATURE_HEADER = "Controller-Ruleset-Signature"
DEPLOYMENT_HEADER = "Controller-Deployment"
VERSION_HEADER = "Controller-Ruleset-Version"

_KEY = re.compile(r"rc_([A-Za-z0-9]{4,32})_([A-Za-z0-9_-]{16,128})")
_AUTHENTICATION = b"rollout-controller authentication 1"
_SIGNING = b"rollout-controller signing 1"
_SCHEME = "v1="
_BLOCK = 64
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))


def format_key(key_id: str, secret: str) -> str:
    """The key as it is handed out, once.

    Raises
    ------
    InvalidInput
        If the id is not 4-32 letters or digits, or the secret not 16-128 of ``A-Za-z0-9_-``.
    """
    key = f"rc_{key_id}_{secret}"
    split_key(key)
    return key


def split_key(key: str) -> tuple[str, bytes, bytes]:
    """A key's id, authentication half and signing half (32 bytes each).

    Raises
    ------
    InvalidInput
        If the text is not a key.
    """
    match = _KEY.fullmatch(key)
    if match is None:
        raise InvalidInput("A key looks like rc_<id>_<secret>.", field="key")
    secret = match[2].encode()
    return (
        match[1],
        hmac_sha256(secret, _AUTHENTICATION),
        hmac_sha256(secret, _SIGNING),
    )


def stored_hash(auth_half: bytes) -> str:
    """What a server keeps of the authentication half: its sha256 in hex.

    A plain hash is enough because the half has 256 random-looking bits; there is no password in it
    to guess.
    """
    return sha256(auth_half).hexdigest()


def same_key(auth_half: bytes, stored: str) -> bool:
    """Whether a presented authentication half is the stored one, in constant time."""
    return _compare_digest(stored_hash(auth_half), stored)


def sign_ruleset(signing_key: bytes, *, deployment: str, version: int, digest: str) -> str:
    """The signature header's value: ``v1=`` and the hex HMAC-SHA256 over the three parts."""
    message = "\n".join(("ruleset", deployment, str(version), digest))
    return _SCHEME + hmac_sha256(signing_key, message.encode()).hex()


def verify_ruleset(
    signature: str, signing_key: bytes, *, deployment: str, version: int, digest: str
) -> bool:
    """Whether the header signs exactly this ruleset, in constant time."""
    expected = sign_ruleset(signing_key, deployment=deployment, version=version, digest=digest)
    return _compare_digest(signature.encode(), expected.encode())


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA256 (RFC 2104, FIPS 198-1), 32 bytes, without loading OpenSSL for it.

    The module `hmac` loads it for every user, which costs an SDK 3.5 MB (see `digest`).
    """
    padded = (sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
    inner = sha256(padded.translate(_INNER) + message).digest()
    return sha256(padded.translate(_OUTER) + inner).digest()
