"""A model version: what serves, named so that it cannot change unnoticed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from controller.errors import InvalidInput
from controller.experiments.canonical import canonical_json, sha256_of
from controller.experiments.document import Fields, describe

MOST_PAYLOAD_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One version of a model, a rule or a constant.

    Attributes
    ----------
    name, version : str
        As people call it.
    digest, uri : str or None
        Where the artefact lies and its content digest.
    payload : any JSON value
        Comes back with every assignment (`payload`, OFREP `value`).
    authors : tuple of str
        Operators who made it; they cannot approve it.
    """

    name: str
    version: str
    digest: str | None = None
    uri: str | None = None
    payload: Any = None
    authors: tuple[str, ...] = ()

    @property
    def identity(self) -> str:
        """sha256 over name, version, digest, uri and payload: a changed prompt is another model."""
        document = self.document()
        document.pop("authors", None)
        return sha256_of(document)

    @property
    def label(self) -> str:
        """Name and version, as shown to people."""
        return f"{self.name} {self.version}"

    def document(self) -> dict[str, Any]:
        """The JSON form; absent parts are left out."""
        parts = {
            "name": self.name,
            "version": self.version,
            "digest": self.digest,
            "uri": self.uri,
            "payload": self.payload,
            "authors": list(self.authors) or None,
        }
        return {key: value for key, value in parts.items() if value is not None}

    @classmethod
    def from_document(cls, document: Any, where: str = "model") -> Model:
        """Read and check the JSON form.

        Raises
        ------
        InvalidInput
            Naming the field and the rule.
        """
        fields = Fields(document, where)
        payload = fields.raw("payload")
        if len(canonical_json(payload)) > MOST_PAYLOAD_BYTES:
            raise InvalidInput(f"{where}.payload: is larger than 64 KiB.", field=f"{where}.payload")
        authors = fields.items("authors", most=50)
        describe(f"{where}.authors[0]", {"type": "string", "minLength": 1})
        if not all(isinstance(author, str) and author for author in authors):
            raise InvalidInput(
                f"{where}.authors: expected operator names.", field=f"{where}.authors"
            )
        model = cls(
            name=fields.text("name", most=200),
            version=fields.text("version", most=200),
            digest=fields.optional_text("digest", most=200),
            uri=fields.optional_text("uri", most=2000),
            payload=payload,
            authors=tuple(authors),
        )
        fields.done()
        return model
