"""Reports: an evaluation as a folder of JSON, plots and Markdown."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from serve_app.models.evaluation import Estimate, Evaluation
from serve_app.models.plots import draw_reliability, draw_roc
from serve_app.models.writing import writing

_PAGE = """\
# {title}

{facts}

Measured on {n_rows:,} rows of {n_groups:,} identities or videos. The bounds are those of a 95 % bootstrap over these,
not over rows: rows of one person or recording resemble each other.

{metrics}

## By fake family
The fakes of each family against all reals.

{families}

## By head pose
Only rows whose head is turned so many degrees to either side.

{poses}

## Curves
![ROC curve](roc.png)

![Reliability](reliability.png)
"""

Table = dict[str, Estimate]


def write_report(folder: Path, evaluation: Evaluation, *, title: str, suffix: str, facts: Mapping[str, str]) -> None:
    """Write ``report.json``, ``report.md``, ``roc.png`` and ``reliability.png`` into a folder, made if need be.

    ``suffix`` ends the name of all that was measured ("_simulated" on simulated rows); ``facts`` say what that was.

    Raises:
        ExtraMissing: matplotlib is not installed.
        OSError: the folder cannot be written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        draw_roc(folder / "roc.png", evaluation, title=title)
        draw_reliability(folder / "reliability.png", evaluation, title=title)
        (folder / "report.json").write_text(_json(evaluation, title, suffix, facts), "utf-8")
        (folder / "report.md").write_text(_page(evaluation, title, suffix, facts), "utf-8")


def _json(evaluation: Evaluation, title: str, suffix: str, facts: Mapping[str, str]) -> str:
    measured = {
        "metrics": _metrics(evaluation, suffix),
        "by_family": _families(evaluation, suffix),
        "by_pose": _poses(evaluation, suffix),
    }
    report = {
        "title": title,
        "facts": dict(facts),
        "n_rows": evaluation.n_rows,
        "n_groups": evaluation.n_groups,
        **{part: {name: asdict(estimate) for name, estimate in table.items()} for part, table in measured.items()},
        f"roc{suffix}": asdict(evaluation.roc),
        f"reliability{suffix}": asdict(evaluation.reliability),
    }
    return json.dumps(report, indent=2, default=np.ndarray.tolist) + "\n"


def _page(evaluation: Evaluation, title: str, suffix: str, facts: Mapping[str, str]) -> str:
    return _PAGE.format(
        title=title,
        facts="\n".join(f"- {name}: {value}" for name, value in facts.items()),
        n_rows=evaluation.n_rows,
        n_groups=evaluation.n_groups,
        metrics=_markdown(_metrics(evaluation, suffix)),
        families=_markdown(_families(evaluation, suffix)),
        poses=_markdown(_poses(evaluation, suffix)),
    )


def _metrics(evaluation: Evaluation, suffix: str) -> Table:
    return {f"{name}{suffix}": estimate for name, estimate in evaluation.metrics.items()}


def _families(evaluation: Evaluation, suffix: str) -> Table:
    return {f"auc_{family}{suffix}": estimate for family, estimate in evaluation.by_family.items()}


def _poses(evaluation: Evaluation, suffix: str) -> Table:
    return {f"auc_yaw_{yaw_deg}{suffix}": estimate for yaw_deg, estimate in evaluation.by_pose.items()}


def _markdown(table: Table) -> str:
    rows = (
        f"| {name} | {estimate.value:.4f} | {estimate.low:.4f} to {estimate.high:.4f} |"
        for name, estimate in table.items()
    )
    return "\n".join(["| metric | value | 95 % interval |", "| --- | --- | --- |", *rows])
