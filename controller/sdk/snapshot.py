"""Which rulesets an SDK believes: whole, signed for its key, of its deployment, never older."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from controller.assignment.ruleset import Ruleset, digest
from controller.assignment.signature import SIGNATURE_HEADER, split_key, verify_ruleset
from controller.errors import RulesetRefused
from controller.sdk.options import make_private

_FILE: Final = "ruleset.snapshot"
_CLOCK_SECONDS: Final = 2.0  # what file systems round a time by


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A believed ruleset with what is needed to believe it again after a restart."""

    ruleset: Ruleset
    etag: str
    signature: str
    body: bytes


def accept(
    body: bytes,
    headers: Mapping[str, str],
    key: str,
    *,
    present: Snapshot | None,
    bootstrap: Ruleset | None = None,
) -> Snapshot:
    """A snapshot of a downloaded ruleset, if it may replace the present one.

    Parameters
    ----------
    headers : mapping
        Lower-case names; the ETag is the body's sha256, the signature is for `key`.
    bootstrap : Ruleset, optional
        What serves while there is no present one. Of another deployment or project it gives way to
        any; of the same one, to none that is older.

    Raises
    ------
    RulesetRefused
        If it is damaged, not signed for this key, of another deployment or project, or older.
    """
    etag = headers.get("etag", "").removeprefix("W/").strip('"')
    signature = headers.get(SIGNATURE_HEADER.lower(), "")
    snapshot = _believe(body, etag, signature, key)
    if present is not None:
        _compare(snapshot.ruleset, present.ruleset)
    elif bootstrap is not None and is_older(snapshot.ruleset, bootstrap):
        _compare(snapshot.ruleset, bootstrap)
    return snapshot


def is_older(one: Ruleset, other: Ruleset) -> bool:
    """Whether `one` was published before `other`, by the same deployment for the same project."""
    return _source(one) == _source(other) and one.version < other.version


def save(snapshot: Snapshot, directory: Path) -> None:
    """Write the snapshot so that a reader sees the old or the new one, never half of one.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    make_private(directory)
    head = json.dumps({"etag": snapshot.etag, "signature": snapshot.signature}).encode()
    fresh = directory / f"{_FILE}.{os.getpid()}"
    fresh.write_bytes(head + b"\n" + snapshot.body)
    fresh.chmod(0o600)
    fresh.replace(directory / _FILE)


def load(directory: Path, key: str) -> Snapshot | None:
    """The saved snapshot, checked like a downloaded one; None where there is none.

    Raises
    ------
    RulesetRefused
        If the file is damaged or not for this key.
    """
    try:
        head, _, body = (directory / _FILE).read_bytes().partition(b"\n")
        fields = json.loads(head)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RulesetRefused(f"The saved ruleset cannot be read: {error}.") from error
    if not isinstance(fields, dict):
        raise RulesetRefused("The saved ruleset is damaged.")
    try:
        return _believe(body, str(fields.get("etag")), str(fields.get("signature")), key)
    except UnicodeEncodeError as error:
        raise RulesetRefused("The saved ruleset is damaged.") from error


def note_confirmed(directory: Path) -> None:
    """Write down, as the file's time, that the service has just confirmed the saved ruleset."""
    with suppress(OSError, ValueError):  # nothing saved, or not ours to write: then it ages
        os.utime(directory / _FILE)


def seconds_since_confirmed(directory: Path) -> float:
    """Age of the last confirmation of the saved ruleset; infinite where the file cannot say.

    A time in the future says that the clock was turned back since, by nobody knows how much.
    """
    try:
        seconds = time.time() - (directory / _FILE).stat().st_mtime
    except (OSError, ValueError):
        return float("inf")
    return max(seconds, 0.0) if seconds > -_CLOCK_SECONDS else float("inf")


def _believe(body: bytes, etag: str, signature: str, key: str) -> Snapshot:
    if digest(body) != etag:
        raise RulesetRefused("The ruleset is damaged: its bytes do not match its ETag.")
    ruleset = Ruleset.from_bytes(body)
    _, _, signing_key = split_key(key)
    signed = verify_ruleset(
        signature,
        signing_key,
        deployment=ruleset.deployment,
        version=ruleset.version,
        digest=etag,
    )
    if not signed:
        raise RulesetRefused("The ruleset is not signed for this key.")
    return Snapshot(ruleset=ruleset, etag=etag, signature=signature, body=body)


def _source(ruleset: Ruleset) -> tuple[str, str]:
    return ruleset.deployment, ruleset.project


def _compare(new: Ruleset, present: Ruleset) -> None:
    if _source(new) != _source(present):
        raise RulesetRefused(
            f"The ruleset belongs to deployment {new.deployment!r}, project {new.project!r}; "
            f"this client follows {present.deployment!r}, {present.project!r}."
        )
    if is_older(new, present):
        raise RulesetRefused(
            f"The ruleset's version {new.version} is older than {present.version}."
        )
