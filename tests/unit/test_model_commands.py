"""The commands about models, from their options to what they print, write and return."""

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from serve_app import model_commands
from serve_app.checkset import SHOTS, make_check_set
from serve_app.cli import main
from serve_app.model_tables import show_evaluation
from serve_app.models.detector import Detector
from serve_app.models.evaluation import ScoredRows, evaluate
from serve_app.models.registry import ModelRegistry
from serve_app.models.simulation import simulate
from serve_app.settings import DEFAULT_MODEL, PRETRAINED_DIR
from tests.exports import dense_onnx
from tests.unit.labelled_folder import write_labelled_folder

Capture = pytest.CaptureFixture[str]

pytestmark = pytest.mark.usefixtures("wide_terminal")


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one model: the shipped one under another name, as a user's own would be."""
    folder = tmp_path_factory.mktemp("models")
    version = Path(shutil.copytree(PRETRAINED_DIR / DEFAULT_MODEL / "1", folder / "small" / "1"))
    manifest = json.loads((version / "manifest.json").read_text())
    (version / "manifest.json").write_text(json.dumps(manifest | {"name": "small"}))
    card = version / "card.md"
    card.write_text(card.read_text().replace(DEFAULT_MODEL, "small", 1))
    return folder


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_labelled_folder(tmp_path_factory.mktemp("labelled"), simulate(9, 40))


def test_evaluate_measures_on_new_simulated_people(models_dir: Path, capsys: Capture) -> None:
    """As many as were asked for; four rows of each."""
    models = ["--models-dir", str(models_dir)]
    assert main(["evaluate", "small", *models, "--simulated", "50", "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)
    assert (measured["model"], measured["n_rows"], measured["n_groups"]) == ("small@1", 200, 50)
    assert measured["suffix"] == "_simulated"
    auc = measured["metrics"]["auc"]
    assert 0.0 <= auc["low"] <= auc["value"] <= auc["high"] <= 1.0


def test_evaluate_measures_on_labelled_rows(models_dir: Path, labelled: Path, tmp_path: Path, capsys: Capture) -> None:
    """Per family and per head pose, in a table and in a report; nothing of it is called simulated."""
    report = tmp_path / "report"
    models = ["--models-dir", str(models_dir)]
    assert main(["evaluate", "small@1", *models, "--data", str(labelled), "--report", str(report)]) == 0
    table = capsys.readouterr().out
    assert all(name in table for name in ("tpr_at_fpr_1pct", "auc_face_swap", "head turned 0-10 degrees"))
    assert "simulated" not in table
    assert "160 rows of 40 people" in table
    assert (report / "report.md").is_file()


def test_what_was_measured_is_shown_though_its_report_cannot_be_written(
    models_dir: Path, tmp_path: Path, capsys: Capture
) -> None:
    """A check set takes minutes to make."""
    (tmp_path / "file").touch()
    options = ["--models-dir", str(models_dir), "--simulated", "50", "--report", str(tmp_path / "file" / "report")]
    assert main(["evaluate", "small", *options, "--json"]) == 1
    told = capsys.readouterr()
    assert json.loads(told.out)["n_groups"] == 50
    assert "file/report cannot be written" in told.err


def test_evaluate_measures_on_pictures(models_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """Made and extracted on the spot; here two frames of the smallest shot, where the command takes them all."""
    monkeypatch.setattr(model_commands, "make_check_set", partial(make_check_set, shots=SHOTS[4:5], n_frames=2))
    assert main(["evaluate", "small", "--models-dir", str(models_dir), "--check-set", "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)
    assert (measured["suffix"], measured["n_rows"]) == ("_check_set", 16)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nosuch"], "no model 'nosuch' for facemesh"),
        (["small@7"], "no model 'small@7'"),
        (["small", "--backend", "openface"], "no model 'small' for openface"),
        (["small", "--data", "nowhere"], "labels.csv cannot be read"),
    ],
)
def test_what_cannot_be_measured_is_one_line(
    models_dir: Path, arguments: list[str], message: str, capsys: Capture
) -> None:
    """That says what there is."""
    assert main(["evaluate", *arguments, "--models-dir", str(models_dir)]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_calibrating_writes_a_version_with_other_probabilities(
    models_dir: Path, labelled: Path, tmp_path: Path, method: str
) -> None:
    """The same network, whose order of rows stays; the card tells of both calibrations."""
    models = ["--models-dir", str(models_dir), "--data", str(labelled)]
    assert main(["calibrate", "small", *models, "--method", method, "--output", str(tmp_path)]) == 0
    before, after = (
        Detector.load(registry, registry.load_manifest("small", 1), torch.device("cpu"))
        for registry in (ModelRegistry(models_dir), ModelRegistry(tmp_path))
    )
    assert after.manifest.weights_sha256 == before.manifest.weights_sha256
    assert after.manifest.calibration is not None
    assert after.manifest.calibration.method == method
    assert "auc" in after.manifest.metrics
    assert "## Calibrated again" in ModelRegistry(tmp_path).load_card(after.manifest)
    rows = simulate(10, 20).features
    earlier, later = before.scores(rows), after.scores(rows)
    order = np.lexsort((later, earlier))  # two certain rows that scored alike may differ now
    assert (np.diff(later[order]) >= 0.0).all()


def test_a_calibrated_models_card_says_which_of_two_it_is(models_dir: Path, labelled: Path, tmp_path: Path) -> None:
    """Its title has its own version; what it was made from is named by its folder, for its version may be the same."""
    models = ["--models-dir", str(models_dir), "--data", str(labelled)]
    for _ in range(2):
        assert main(["calibrate", "small", *models, "--output", str(tmp_path)]) == 0
    registry = ModelRegistry(tmp_path)
    card = registry.load_card(registry.load_manifest("small", 2))
    assert card.startswith("# small, version 2\n")
    assert f"Version 2 was made from version 1 in the folder `{models_dir.name}`" in card.replace("\n", " ")


def test_models_are_listed(models_dir: Path, capsys: Capture) -> None:
    """In a table, and as JSON by line."""
    assert main(["models", "--models-dir", str(models_dir)]) == 0
    assert "small@1" in capsys.readouterr().out
    assert main(["models", "--models-dir", str(models_dir), "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert {"name": "small", "version": 1, "backend": "facemesh", "threshold": 0.5}.items() <= json.loads(line).items()


def test_the_folder_of_the_service_is_the_default(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """As MODELS_DIR says it."""
    monkeypatch.setenv("MODELS_DIR", str(models_dir))
    assert main(["models", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "small"


def test_an_imported_model_is_measured_as_any_other(tmp_path: Path, capsys: Capture) -> None:
    """An ONNX graph whose metrics nobody knows yet."""
    file = tmp_path / "dense.onnx"
    file.write_bytes(dense_onnx(np.full((674, 1), 1e-4, np.float32)))
    models = ["--models-dir", str(tmp_path / "models")]
    named = ["--name", "mine", "--backend", "facemesh", "--output", "logit", "--license", "MIT"]
    assert main(["import-model", str(file), *models, *named]) == 0
    assert "not measured" in capsys.readouterr().out
    assert main(["evaluate", "mine", *models, "--simulated", "20", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n_rows"] == 80


@pytest.mark.parametrize(
    ("option", "value"),
    [("--epochs", "0"), ("--seed", "-1"), ("--seed", "one"), ("--real-share", "1.5"), ("--real-share", "no")],
)
def test_options_out_of_range_are_refused_at_once(option: str, value: str, tmp_path: Path, capsys: Capture) -> None:
    """Not after an hour of training, and in words."""
    with pytest.raises(SystemExit, match="2"):
        main(["train", str(tmp_path), option, value])
    assert "invalid _" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["train", "/dev/null/x", "--real-share", "0.5"], "--real-share is nothing without --real"),
        (["train", "/dev/null/x", "--rows-per-video", "8"], "--rows-per-video is nothing without --real"),
        (["evaluate", "--simulated", "10", "--rows-per-video", "8"], "--rows-per-video is nothing without --data"),
        (["evaluate", "--data", "/dev/null/x", "--seed", "1"], "--seed is nothing without --simulated"),
        (["evaluate", "--check-set", "--seed", "1"], "--seed is nothing without --simulated"),
    ],
)
def test_an_option_without_its_partner_is_refused(command: list[str], message: str, capsys: Capture) -> None:
    """Else it would be ignored in silence."""
    with pytest.raises(SystemExit, match="2"):
        main(command)
    assert message in capsys.readouterr().err


def test_a_model_has_a_licence(tmp_path: Path, capsys: Capture) -> None:
    """Whoever serves it wants to know."""
    named = ["--name", "mine", "--backend", "facemesh", "--output", "logit", "--license", " "]
    with pytest.raises(SystemExit, match="2"):
        main(["import-model", "model.onnx", "--models-dir", str(tmp_path), *named])
    assert "--license: it must not be empty" in capsys.readouterr().err


def test_a_card_that_is_no_text_is_one_line(tmp_path: Path, capsys: Capture) -> None:
    """Rather than a traceback."""
    card = tmp_path / "card.md"
    card.write_bytes(b"\xff\xfe")
    named = ["--name", "mine", "--backend", "facemesh", "--output", "logit", "--license", "MIT"]
    assert main(["import-model", "model.onnx", "--models-dir", str(tmp_path), "--card", str(card), *named]) == 1
    assert "card.md is no text in UTF-8" in capsys.readouterr().err


def test_an_empty_folder_is_said_to_hold_none(tmp_path: Path, capsys: Capture) -> None:
    """Else the sentence ends in nothing."""
    assert main(["evaluate", "small", "--models-dir", str(tmp_path)]) == 1
    assert "it holds none" in capsys.readouterr().err


def test_a_family_is_no_markup(capsys: Capture) -> None:
    """A name of the user's own, that rich would swallow or stumble over."""
    labels, families = np.array([0, 1, 0, 1]), np.array(["real", "[/gan]", "real", "[/gan]"])
    rows = ScoredRows(np.full(4, 0.5), labels.astype(float), families, np.arange(4), np.zeros(4))
    show_evaluation(Console(), evaluate(rows, n_resamples=20), title="small", suffix="")
    assert "auc_[/gan]" in capsys.readouterr().out
