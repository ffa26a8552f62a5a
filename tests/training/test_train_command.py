"""The command that trains, from its options to what it prints, writes and returns."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serve_app import model_commands
from serve_app.cli import main
from serve_app.models.training import EpochReport

Capture = pytest.CaptureFixture[str]
SMALL = ("--identities", "60", "--epochs", "2")

pytestmark = pytest.mark.usefixtures("wide_terminal")


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one small model and its report."""
    folder = tmp_path_factory.mktemp("models")
    assert main(["train", str(folder), "--name", "small", *SMALL]) == 0
    return folder


@pytest.fixture
def edit_metrics(models_dir: Path, tmp_path: Path) -> Callable[..., Path]:
    """Copies the small model's folder with other metrics."""

    def edit(**changes: float | None) -> Path:
        folder = tmp_path / "edited" / "small" / "1"
        folder.mkdir(parents=True)
        manifest = json.loads((models_dir / "small" / "1" / "manifest.json").read_text())
        metrics = {name: value for name, value in (manifest["metrics"] | changes).items() if value is not None}
        (folder / "manifest.json").write_text(json.dumps(manifest | {"metrics": metrics}))
        return folder

    return edit


def test_training_writes_a_report_beside_the_model(models_dir: Path) -> None:
    """What was measured on simulation is called so."""
    report = models_dir / "small" / "1" / "report_simulated"
    assert {path.name for path in report.iterdir()} == {"report.json", "report.md", "roc.png", "reliability.png"}
    assert "auc_simulated" in json.loads((report / "report.json").read_text())["metrics"]


@contextmanager
def interrupted(*_: object) -> Iterator[Callable[[EpochReport], None]]:
    """Ctrl-C after the first epoch."""

    def interrupt(_: EpochReport) -> None:
        raise KeyboardInterrupt

    yield interrupt


def test_an_interrupted_training_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """And so it does."""
    command = ["train", str(tmp_path), "--no-report", *SMALL]
    with monkeypatch.context() as patch:
        patch.setattr(model_commands, "epoch_progress", interrupted)
        assert main(command) == 130
    assert "interrupted: the same command with --resume goes on" in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0


def test_a_reproduced_model_lies_within_the_intervals(models_dir: Path, tmp_path: Path, capsys: Capture) -> None:
    """Its recipe comes from the manifest alone; on one machine even its weights are the same."""
    reference = models_dir / "small" / "1"
    assert main(["train", str(tmp_path), "--no-report", "--reproduce", str(reference)]) == 0
    assert "every metric lies within the interval of model small/1" in capsys.readouterr().err
    made = tmp_path / "small" / "1" / "weights.safetensors"
    assert made.read_bytes() == (reference / "weights.safetensors").read_bytes()
    assert not (tmp_path / "small" / "1" / "report_simulated").exists()


def test_a_model_that_is_not_reproduced_fails_the_command(
    edit_metrics: Callable[..., Path], tmp_path: Path, capsys: Capture
) -> None:
    """And the metric that left its interval is named."""
    better = edit_metrics(auc_simulated=0.99, auc_simulated_low=0.98, auc_simulated_high=1.0)
    assert main(["train", str(tmp_path / "made"), "--no-report", "--reproduce", str(better)]) == 1
    told = capsys.readouterr().err
    assert "not reproduced: auc_simulated is 0." in told
    assert "outside of 0.9800 to 1.0000" in told


def test_a_model_without_intervals_cannot_be_compared_with(
    models_dir: Path, edit_metrics: Callable[..., Path], tmp_path: Path, capsys: Capture
) -> None:
    """That is said; it is no success."""
    metrics = json.loads((models_dir / "small" / "1" / "manifest.json").read_text())["metrics"]
    bare = edit_metrics(**{name: None for name in metrics if name.endswith(("_low", "_high"))})
    assert main(["train", str(tmp_path / "made"), "--no-report", "--reproduce", str(bare)]) == 1
    assert "holds no intervals" in capsys.readouterr().err


def test_a_model_calibrated_on_other_rows_cannot_be_compared_with(
    edit_metrics: Callable[..., Path], tmp_path: Path, capsys: Capture
) -> None:
    """Nothing that is simulated anew was measured on them."""
    calibrated = edit_metrics(auc=0.9, auc_low=0.8, auc_high=1.0)
    assert main(["train", str(tmp_path / "made"), "--no-report", "--reproduce", str(calibrated)]) == 1
    assert "cannot be reproduced" in capsys.readouterr().err
