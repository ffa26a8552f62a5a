"""Detectors: loading, scoring, choosing by name."""

import hashlib
import json
import logging
import pickle
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors

from serve_app.errors import ArtifactInvalid, BackendMismatch, DeviceUnavailable, UnknownModel
from serve_app.models.detector import Detector, Detectors, resolve_device
from serve_app.models.evaluation import auc, ece
from serve_app.models.registry import ModelRegistry
from serve_app.models.simulation import SimulatedRows
from serve_app.settings import DEFAULT_MODEL, PRETRAINED_DIR, Backend
from tests.unit.models.conftest import EditManifest

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def detectors() -> Detectors:
    return Detectors(ModelRegistry(PRETRAINED_DIR), CPU)


@pytest.fixture
def no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_the_shipped_model_tells_fresh_simulated_fakes_from_reals(
    detector: Detector, fresh_rows: SimulatedRows
) -> None:
    """Identities it was not trained on; the weights are not random."""
    scores = detector.scores(fresh_rows.features)
    assert auc(fresh_rows.labels, scores) >= 0.93
    assert ece(fresh_rows.labels, scores) <= 0.06  # 1200 rows alone give 0.03


def test_the_shipped_openface_model_tells_fresh_simulated_fakes_from_reals(
    openface_detector: Detector, fresh_openface_rows: SimulatedRows
) -> None:
    """Less well than the face mesh's: it reads less, of people simulated to vary more, so as to accuse fewer."""
    scores = openface_detector.scores(fresh_openface_rows.features)
    assert auc(fresh_openface_rows.labels, scores) >= 0.85  # 0.87 on the 3000 identities of its test
    assert ece(fresh_openface_rows.labels, scores) <= 0.06


def test_a_score_does_not_depend_on_the_rest_of_its_batch(detector: Detector, fresh_rows: SimulatedRows) -> None:
    """Alone or among 64, to 1e-5."""
    rows = fresh_rows.features[:64]
    alone = np.concatenate([detector.scores(row[None]) for row in rows])
    np.testing.assert_allclose(detector.scores(rows), alone, atol=1e-5)


def test_a_large_batch_is_scored_as_small_ones_are(detector: Detector, fresh_rows: SimulatedRows) -> None:
    """It is taken in parts, none of them lost or out of order."""
    rows = fresh_rows.features[:600]
    small = np.concatenate([detector.scores(rows[start : start + 50]) for start in range(0, 600, 50)])
    np.testing.assert_allclose(detector.scores(rows), small, atol=1e-5)


def test_scores_are_probabilities(detector: Detector, fresh_rows: SimulatedRows) -> None:
    """One float32 in 0..1 per row."""
    scores = detector.scores(fresh_rows.features)
    assert scores.shape == (len(fresh_rows),)
    assert scores.dtype == np.float32
    assert scores.min() >= 0.0
    assert scores.max() <= 1.0


def test_no_rows_have_no_scores(detector: Detector) -> None:
    """An empty batch is not an error."""
    assert detector.scores(np.empty((0, 674), np.float32)).shape == (0,)


@pytest.mark.parametrize(
    "features", [np.zeros(674), np.zeros((2, 673)), np.full((1, 674), np.nan), np.full((1, 674), np.inf)]
)
def test_malformed_features_are_refused(detector: Detector, features: npt.NDArray[np.float64]) -> None:
    """Rather than scored."""
    with pytest.raises(ValueError, match="features must be"):
        detector.scores(features.astype(np.float32))


def test_an_unknown_model_is_refused(detectors: Detectors) -> None:
    """The message lists those that are loaded."""
    with pytest.raises(UnknownModel, match=DEFAULT_MODEL):
        detectors.find("../etc", "facemesh")


@pytest.mark.parametrize(("kept", "backend", "other"), [("1", "facemesh", "openface"), ("2", "openface", "facemesh")])
def test_features_of_another_backend_are_refused(models_dir: Path, kept: str, backend: Backend, other: Backend) -> None:
    """They mean something else, also where the name is right."""
    shutil.rmtree(models_dir / DEFAULT_MODEL / {"1": "2", "2": "1"}[kept])
    detectors = Detectors(ModelRegistry(models_dir), CPU)
    with pytest.raises(BackendMismatch, match=f"trained on features of {backend}, but {other} extracts"):
        detectors.find(DEFAULT_MODEL, other)


def test_one_name_scores_each_backend_with_its_own_version(
    detectors: Detectors, detector: Detector, openface_detector: Detector, fresh_rows: SimulatedRows
) -> None:
    """As each does alone, side by side."""
    rows = fresh_rows.features[:5]
    np.testing.assert_array_equal(detectors.find(DEFAULT_MODEL, "facemesh").scores(rows), detector.scores(rows))
    np.testing.assert_array_equal(
        detectors.find(DEFAULT_MODEL, "openface").scores(rows), openface_detector.scores(rows)
    )
    assert detectors.manifests() == [detector.manifest, openface_detector.manifest]


def add_version(model_folder: Path, version: int) -> Path:
    """Copy version 1 to a newer one that calls twice as much fake: its calibration differs."""
    folder = Path(shutil.copytree(model_folder, model_folder.parent / str(version)))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest |= {"version": version, "calibration": {"method": "temperature", "temperature": 9.0}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_a_name_means_its_newest_version_for_the_backend(
    models_dir: Path, model_folder: Path, fresh_rows: SimulatedRows
) -> None:
    """10 is newer than 2, which is for OpenFace; each version stays to be had."""
    add_version(model_folder, 10)
    detectors, rows = Detectors(ModelRegistry(models_dir), CPU), fresh_rows.features[:8]
    newest, first, tenth = (
        detectors.find(name, "facemesh").scores(rows)
        for name in (DEFAULT_MODEL, f"{DEFAULT_MODEL}@1", f"{DEFAULT_MODEL}@10")
    )
    np.testing.assert_array_equal(newest, tenth)
    assert np.abs(newest - first).max() > 0.05
    assert [manifest.version for manifest in detectors.manifests()] == [1, 2, 10]


@pytest.mark.parametrize("name", [f"{DEFAULT_MODEL}@7", f"{DEFAULT_MODEL}@0", f"{DEFAULT_MODEL}@", "@1"])
def test_an_unknown_version_is_refused(detectors: Detectors, name: str) -> None:
    """It is not taken for the newest."""
    with pytest.raises(UnknownModel, match=name):
        detectors.find(name, "facemesh")


def test_a_version_for_another_backend_is_refused(detectors: Detectors) -> None:
    """Though the name has one that fits."""
    with pytest.raises(BackendMismatch, match="trained on features of openface"):
        detectors.find(f"{DEFAULT_MODEL}@2", "facemesh")


def test_what_is_loaded_is_kept_and_what_is_new_is_loaded(models_dir: Path, model_folder: Path) -> None:
    """A reload costs no more than what changed."""
    registry = ModelRegistry(models_dir)
    before = list(Detectors(registry, CPU))
    add_version(model_folder, 3)
    after = list(Detectors(registry, CPU, earlier=before))
    assert after[:2] == before
    assert [detector.manifest.version for detector in after] == [1, 2, 3]


def test_what_is_loaded_is_not_kept_once_its_manifest_changed(models_dir: Path, edit_manifest: EditManifest) -> None:
    """The new threshold holds."""
    registry = ModelRegistry(models_dir)
    before = list(Detectors(registry, CPU))
    edit_manifest(threshold=0.9)
    assert next(iter(Detectors(registry, CPU, earlier=before))).manifest.threshold == 0.9


def test_a_file_that_was_spoilt_since_is_refused(models_dir: Path, model_folder: Path) -> None:
    """Though the model is loaded: a restart would fail on it."""
    registry = ModelRegistry(models_dir)
    before = list(Detectors(registry, CPU))
    (model_folder / "weights.safetensors").write_bytes(b"other")
    with pytest.raises(ArtifactInvalid, match="SHA-256 differs"):
        Detectors(registry, CPU, earlier=before)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    """A predictor without a model has nothing to serve."""
    with pytest.raises(ArtifactInvalid, match="deepfake-serve train"):
        Detectors(ModelRegistry(tmp_path), CPU)


def spoil_weights(folder: Path, edit_manifest: EditManifest, weights: bytes) -> None:
    (folder / "weights.safetensors").write_bytes(weights)
    edit_manifest(weights_sha256=hashlib.sha256(weights).hexdigest())


def test_a_pickle_under_the_right_name_and_hash_is_refused(
    models_dir: Path, model_folder: Path, edit_manifest: EditManifest
) -> None:
    """It is parsed as safetensors, never unpickled."""
    spoil_weights(model_folder, edit_manifest, pickle.dumps({"weights": [0.0] * 100}))
    with pytest.raises(ArtifactInvalid, match="do not fit the network"):
        Detectors(ModelRegistry(models_dir), CPU)


def test_weights_of_another_network_are_refused(
    models_dir: Path, model_folder: Path, edit_manifest: EditManifest
) -> None:
    """A tensor too few is enough."""
    tensors = load_safetensors((model_folder / "weights.safetensors").read_bytes())
    tensors.pop("place")
    spoil_weights(model_folder, edit_manifest, save_safetensors(tensors))
    with pytest.raises(ArtifactInvalid, match="do not fit the network"):
        Detectors(ModelRegistry(models_dir), CPU)


def test_weights_that_are_not_finite_are_refused(
    models_dir: Path, model_folder: Path, edit_manifest: EditManifest
) -> None:
    """They would score every face nan."""
    tensors = load_safetensors((model_folder / "weights.safetensors").read_bytes())
    tensors["place"][0, 0, 0] = torch.nan
    spoil_weights(model_folder, edit_manifest, save_safetensors(tensors))
    with pytest.raises(ArtifactInvalid, match="not all finite"):
        Detectors(ModelRegistry(models_dir), CPU)


@pytest.mark.usefixtures("no_cuda")
def test_auto_falls_back_to_the_cpu_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """One warning, not silence."""
    with caplog.at_level(logging.WARNING):
        assert resolve_device("auto") == CPU
    assert [record.message for record in caplog.records] == ["no CUDA device: the predictor computes on the CPU"]


@pytest.mark.usefixtures("no_cuda")
def test_cuda_where_there_is_none_is_refused() -> None:
    """The message says what to do."""
    with pytest.raises(DeviceUnavailable, match="set device to auto or cpu"):
        resolve_device("cuda")


def test_a_gpu_is_used_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the CPU is asked for."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [resolve_device(choice).type for choice in ("auto", "cuda", "cpu")] == ["cuda", "cuda", "cpu"]
