"""Accept a batch of events: on disk before anybody is told that it was accepted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from controller.errors import BatchReuse, InvalidInput
from controller.flow.batches import MOST_BATCH_ID, Batch, read_batch
from controller.flow.ports.ingest import Answered, Inbox, Received


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The answer to one batch.

    Attributes
    ----------
    accepted : int
        Events now on disk that this batch brought.
    duplicates : int
        Repeats inside the batch, or every good item of a batch that is already stored.
    rejected : tuple of {"index", "code", "detail"}
        Refused items; the others are kept.
    """

    accepted: int
    duplicates: int
    rejected: tuple[dict[str, Any], ...]

    def document(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "rejected": list(self.rejected),
        }


def accept(  # noqa: PLR0917 - the order in which a request is read
    inbox: Inbox,
    project: str,
    key_id: str,
    batch_id: str | None,
    body: bytes,
    received_at: datetime,
) -> Receipt:
    """Commit one request to the inbox and say what was accepted.

    Parameters
    ----------
    batch_id : str or None
        From a header, where the caller sent one; else the body's own. A batch without any is named
        by its bytes, so that sending it again changes nothing.
    body : bytes
        ``{"events": […], "batch_id"?: …}``; kept as it came.

    Raises
    ------
    InvalidInput
        If the body as a whole is not a batch.
    BatchReuse
        If the batch id is already used for other bytes.
    Unavailable
        If it could not be written to disk: nothing was accepted.
    """
    batch = read_batch(body, received_at)
    receipt = _receipt(batch)
    if not batch.events:
        return receipt
    digest = sha256(body).hexdigest()
    name = batch_id or batch.batch_id or f"sha256:{digest}"
    if not name.isprintable() or len(name) > MOST_BATCH_ID:
        raise InvalidInput(
            f"The batch id has 1 to {MOST_BATCH_ID} printable characters.", field="batch_id"
        )
    stored = inbox.put(
        Received(
            project=project,
            key_id=key_id,
            batch_id=name,
            digest=digest,
            received_at=received_at,
            events=len(batch.events),
            body=body,
            verdict=receipt.document(),
        )
    )
    return receipt if stored is None else _repeated(stored, name, digest)


def _receipt(batch: Batch) -> Receipt:
    return Receipt(
        accepted=len(batch.events),
        duplicates=batch.duplicates,
        rejected=tuple(item.document() for item in batch.refused),
    )


def _repeated(stored: Answered, batch_id: str, digest: str) -> Receipt:
    if stored.digest != digest:
        raise BatchReuse(
            f"Batch {batch_id!r:.140} was already used for other bytes; give each batch its own id."
        )
    verdict = stored.verdict
    return Receipt(
        accepted=0,
        duplicates=verdict["accepted"] + verdict["duplicates"],
        rejected=tuple(verdict["rejected"]),
    )
