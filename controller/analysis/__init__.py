"""One look: a design plus aggregates in, a report out; and the same for recorded experiments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from controller.analysis.offline.run import Analysis


def analyze(data: Any, spec: Any) -> Analysis:
    """Analyse a recorded experiment, e.g. in a notebook: a table and a description in.

    Parameters
    ----------
    data : pandas.DataFrame or path
        A row a unit, a row an event, or cumulative statistics by look.
    spec : mapping or path
        The description (`controller analyze --spec`).

    Returns
    -------
    Analysis
        `document` for machines; it shows itself as text and as an HTML table.

    Raises
    ------
    InvalidInput
        With the place and the rule that was broken.
    """
    from controller.analysis.offline import run

    return run.analyze(data, spec)
