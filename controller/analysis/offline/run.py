"""The analysis from end to end: description and table in, report out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from controller.analysis.offline.aggregates import record_aggregates
from controller.analysis.offline.compare import judge
from controller.analysis.offline.describe import parse_spec
from controller.analysis.offline.description_file import read_document
from controller.analysis.offline.document import document_of
from controller.analysis.offline.families import corrected
from controller.analysis.offline.page import html_of
from controller.analysis.offline.spec import AnalysisSpec
from controller.analysis.offline.tables import Progress, open_table
from controller.analysis.offline.text import text_of
from controller.analysis.offline.units import record_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """The report of one table: `document` for machines, `str()` for people, HTML in a notebook.

    Attributes
    ----------
    documents : tuple of dict
        One report for each experiment in the table.
    several : bool
        Whether the description selects experiments with `by`.
    """

    documents: tuple[dict[str, Any], ...]
    several: bool

    @property
    def document(self) -> Any:
        """What `controller analyze --json` prints: one report, or a list of them."""
        return list(self.documents) if self.several else self.documents[0]

    def __str__(self) -> str:
        return "\n\n".join(text_of(document) for document in self.documents)

    def _repr_html_(self) -> str:
        return "".join(html_of(document) for document in self.documents)


def analyze(data: Any, spec: Any, *, progress: Progress | None = None) -> Analysis:
    """Analyse a table of a recorded experiment.

    Parameters
    ----------
    data : path or pandas.DataFrame
        CSV or Parquet: a row a unit, a row an event, or cumulative statistics by look.
    spec : path, mapping or AnalysisSpec
        The description (YAML or JSON).
    progress : callable, optional
        Called with a word and the share done.

    Returns
    -------
    Analysis

    Raises
    ------
    InvalidInput
        With the place and the rule: in the description, or row and column of the table.
    """
    parsed = spec if isinstance(spec, AnalysisSpec) else parse_spec(read_document(spec))
    report = progress or silent
    table = open_table(data)
    if parsed.aggregates is not None:
        recorded = record_aggregates(table, parsed, report)
    else:
        recorded = [record_rows(table, parsed, report)]
    documents = tuple(
        corrected(document_of(judge(parsed, each, report)), parsed) for each in recorded
    )
    several = parsed.aggregates is not None and bool(parsed.aggregates.by)
    return Analysis(documents=documents, several=several)


def silent(_what: str, _share: float) -> None:
    """Nobody is watching."""
