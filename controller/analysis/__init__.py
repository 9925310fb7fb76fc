"""One look: a design plus aggregates in, a report out; and the same for recorded experiments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from controller.analysis.offline.calibration import Calibration
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


def calibrate(
    data: Any, spec: Any, *, runs: int = 1000, seed: int = 0, drawn_by: str | None = None
) -> Calibration:
    """Draw the arms of recorded units anew many times and count the false alarms of each metric.

    Parameters
    ----------
    data : pandas.DataFrame or path
        A row a unit or a row an event; arms need not be recorded.
    spec : mapping or path
        The description (`controller analyze --spec`), with the weights, looks and modes as planned.
    runs, seed : int
        Redraws (`controller analyze --aa RUNS --seed SEED`).
    drawn_by : str, optional
        Column of what is really randomised, if that is coarser than the unit.

    Returns
    -------
    Calibration
        `document` for machines; it shows itself as text and as an HTML table.

    Raises
    ------
    InvalidInput
        With the place and the rule that was broken.
    """
    from controller.analysis.offline import calibration

    return calibration.calibrate(data, spec, runs=runs, seed=seed, drawn_by=drawn_by)
