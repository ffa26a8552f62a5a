"""Reports: an evaluation as a folder of JSON, plots and Markdown."""

from collections.abc import Mapping
from pathlib import Path

from serve_app.models.evaluation import Evaluation


def write_report(folder: Path, evaluation: Evaluation, *, title: str, suffix: str, facts: Mapping[str, str]) -> None:
    """Write ``report.json``, ``report.md``, ``roc.png`` and ``reliability.png`` into a folder, made if need be.

    ``suffix`` ends every metric's name ("_simulated" for simulated rows); ``facts`` say what was measured on what.

    Raises:
        ExtraMissing: matplotlib is not installed.
    """
    raise NotImplementedError
