"""Reports: what is in the folder, and what happens without matplotlib."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from serve_app.errors import ExtraMissing
from serve_app.models.evaluation import Evaluation, ScoredRows, evaluate
from serve_app.models.report import write_report

FACTS = {"rows": "200 rows of the bench", "extractor": "facemesh"}


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    rng = np.random.default_rng(0)
    labels = np.tile([0.0, 1.0], 100)
    rows = ScoredRows(
        scores=np.clip(rng.normal(0.3 + 0.4 * labels, 0.2), 0.0, 1.0),
        labels=labels,
        families=np.where(labels == 1, "mouth", "real"),
        groups=np.arange(200) // 2,
        yaw_deg=rng.uniform(-15.0, 15.0, 200),
    )
    return evaluate(rows, n_resamples=50)


@pytest.fixture(scope="module")
def folder(evaluation: Evaluation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reports") / "new" / "report"
    write_report(folder, evaluation, title="A model, version 3", suffix="_simulated", facts=FACTS)
    return folder


def test_the_json_holds_every_estimate_and_curve(folder: Path, evaluation: Evaluation) -> None:
    """Named by what it was measured on, to the last digit."""
    report = json.loads((folder / "report.json").read_text())
    auc, mouth = evaluation.metrics["auc"], evaluation.by_family["mouth"]
    assert report["metrics"]["auc_simulated"] == {"value": auc.value, "low": auc.low, "high": auc.high}
    assert report["by_family"]["auc_mouth_simulated"]["low"] == mouth.low
    assert list(report["by_pose"]) == ["auc_yaw_0-10_simulated", "auc_yaw_10-20_simulated"]
    assert report["roc_simulated"]["tpr"] == evaluation.roc.tpr.tolist()
    assert sum(report["reliability_simulated"]["count"]) == report["n_rows"] == 200


def test_the_page_says_what_was_measured_on_what(folder: Path, evaluation: Evaluation) -> None:
    """Facts, sizes, and each metric with its interval."""
    page = (folder / "report.md").read_text()
    auc = evaluation.metrics["auc"]
    assert page.startswith("# A model, version 3\n\n- rows: 200 rows of the bench\n- extractor: facemesh\n")
    assert "200 rows of 100 identities or videos" in page
    assert f"| auc_simulated | {auc.value:.4f} | {auc.low:.4f} to {auc.high:.4f} |" in page


@pytest.mark.parametrize("name", ["roc.png", "reliability.png"])
def test_the_plots_that_the_page_shows_are_pictures(folder: Path, name: str) -> None:
    """With ink on them, beside the page that links them."""
    assert f"({name})" in (folder / "report.md").read_text()
    with Image.open(folder / name) as image:
        ink = np.asarray(image.convert("L")) < 128
    assert 0.005 < ink.mean() < 0.5


def test_without_matplotlib_there_is_no_report(
    evaluation: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than one without plots; the message names the command."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ExtraMissing, match=r"pip install 'deepfake-serve\[plots\]'"):
        write_report(tmp_path, evaluation, title="", suffix="", facts={})
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_named(evaluation: Evaluation, tmp_path: Path) -> None:
    """Here a file stands in its way."""
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file/report cannot be written: Not a directory"):
        write_report(tmp_path / "file" / "report", evaluation, title="", suffix="", facts=FACTS)
