"""Runtimes: exported models give what the modules gave, and what a graph gives is read as its manifest says."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from serve_app.errors import ArtifactInvalid
from serve_app.models.detector import Detector
from serve_app.models.importing import ImportRequest, import_model
from serve_app.models.network import DeepfakeNet
from serve_app.models.registry import ModelRegistry, Output
from serve_app.models.runtimes import to_logits
from serve_app.models.simulation import SimulatedRows
from tests.exports import Scorer, dense_onnx, export_onnx, export_pt2

CPU = torch.device("cpu")
EXPORTERS = {"onnx": export_onnx, "pt2": export_pt2}


def imported(file: Path, models_dir: Path, output: Output = "logit") -> Detector:
    manifest = import_model(ImportRequest(file, "imported", "facemesh", output, "Apache-2.0"), models_dir)
    return Detector.load(ModelRegistry(models_dir), manifest, CPU)


@pytest.mark.slow
@pytest.mark.parametrize("kind", EXPORTERS)
def test_the_default_network_scores_the_same_when_exported(
    kind: str, trained_network: DeepfakeNet, fresh_rows: SimulatedRows, tmp_path: Path
) -> None:
    """To 1e-5, alone and among 64."""
    detector = imported(EXPORTERS[kind](trained_network, tmp_path / f"model.{kind}"), tmp_path / "models")
    rows = fresh_rows.features[:64]
    with torch.inference_mode():
        expected = torch.sigmoid(trained_network(torch.from_numpy(rows))).numpy()
    np.testing.assert_allclose(detector.scores(rows), expected, atol=1e-5)
    np.testing.assert_allclose(detector.scores(rows[:1]), expected[:1], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", EXPORTERS)
def test_a_small_module_scores_the_same_when_exported(kind: str, fresh_rows: SimulatedRows, tmp_path: Path) -> None:
    """One that gives (n, 1)."""
    module = Scorer()
    detector = imported(EXPORTERS[kind](module, tmp_path / f"model.{kind}"), tmp_path / "models")
    rows = fresh_rows.features[:30]
    with torch.inference_mode():
        expected = torch.sigmoid(module(torch.from_numpy(rows))).squeeze(1).numpy()
    np.testing.assert_allclose(detector.scores(rows), expected, atol=1e-5)


@pytest.mark.parametrize(("n_classes", "activation"), [(1, "Sigmoid"), (2, "Softmax"), (1, None), (2, None)])
def test_keras_like_outputs_are_understood(n_classes: int, activation: str | None, tmp_path: Path) -> None:
    """A sigmoid or its logit, a softmax of [real, fake] or its logits: all say the same."""
    weights = np.zeros((674, n_classes), np.float32)
    weights[0] = [0.5] if n_classes == 1 else [-0.25, 0.25]
    (tmp_path / "model.onnx").write_bytes(dense_onnx(weights, activation=activation))
    detector = imported(tmp_path / "model.onnx", tmp_path / "models", "probability" if activation else "logit")
    rows = np.zeros((3, 674), np.float32)
    rows[:, 0] = [-4, 0, 4]
    np.testing.assert_allclose(detector.scores(rows), 1 / (1 + np.exp([2.0, 0.0, -2.0])), atol=1e-6)


@pytest.mark.parametrize(
    ("values", "output", "expected"),
    [
        ([0.5, 0.5], "probability", [0, 0]),
        ([[0.9], [0.1]], "probability", [np.log(9), -np.log(9)]),
        ([[0.1, 0.9], [0.5, 0.5]], "probability", [np.log(9), 0]),
        ([1.5, -2.0], "logit", [1.5, -2.0]),
        ([[1.0, 3.0], [3.0, 1.0]], "logit", [2, -2]),
    ],
)
def test_outputs_become_logits(values: list[object], output: Output, expected: list[float]) -> None:
    """Closed forms."""
    np.testing.assert_allclose(to_logits(np.array(values, np.float32), 2, output), expected, atol=1e-5)


def test_certain_probabilities_stay_finite() -> None:
    """0 and 1 are as far as a float32 can say."""
    logits = to_logits(np.array([0.0, 1.0], np.float32), 2, "probability")
    np.testing.assert_allclose(logits, [np.log(1e-7), -np.log(1e-7)], rtol=1e-4)


@pytest.mark.parametrize(
    ("values", "output", "message"),
    [
        (np.zeros(3), "logit", r"gave \(3,\) for 2 rows"),
        (np.zeros((2, 3)), "logit", r"gave \(2, 3\) for 2 rows"),
        (np.zeros((2, 1, 1)), "logit", r"gave \(2, 1, 1\)"),
        (np.array([0.5, np.nan]), "logit", "not finite"),
        (np.array([0.5, 1.2]), "probability", "is its output the logit"),
        (np.array([-3.0, 0.5]), "probability", "is its output the logit"),
        (np.array([0, 1]), "probability", "gave int64: a label is no score"),
    ],
)
def test_other_outputs_are_refused(values: npt.NDArray[np.float32], output: Output, message: str) -> None:
    """Rather than guessed at."""
    with pytest.raises(ValueError, match=message):
        to_logits(values, 2, output)


def test_a_graph_that_gives_nan_for_a_face_is_not_scored(tmp_path: Path) -> None:
    """Zeros passed when it was loaded; nan must not reach a client as a score."""
    (tmp_path / "model.onnx").write_bytes(dense_onnx(np.ones((674, 1), np.float32), activation="Log"))
    with pytest.raises(ArtifactInvalid, match="model imported/1: it gave values that are not finite"):
        imported(tmp_path / "model.onnx", tmp_path / "models")
    (tmp_path / "model.onnx").write_bytes(dense_onnx(np.ones((674, 1), np.float32), activation="Sqrt"))
    detector = imported(tmp_path / "model.onnx", tmp_path / "models")
    with pytest.raises(ArtifactInvalid, match="model imported/1: it gave values that are not finite"):
        detector.scores(np.full((1, 674), -1, np.float32))
