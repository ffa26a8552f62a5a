"""The Predictor deployment without Serve: what a change of its user_config does."""

import asyncio
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from deployments.predictor import Predictor
from serve_app.errors import ArtifactInvalid
from serve_app.models.importing import ImportRequest, import_model
from serve_app.settings import DEFAULT_MODEL, PRETRAINED_DIR, PredictorSettings
from tests.exports import dense_onnx

SHIPPED = [(DEFAULT_MODEL, 1), (DEFAULT_MODEL, 2)]


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PRETRAINED_DIR, tmp_path / "models"))


@pytest.fixture
def predictor(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Predictor:
    monkeypatch.setattr("deployments.predictor.log_through_serve", lambda: None)  # it is for a process of its own
    return Predictor(PredictorSettings(models_dir=models_dir, device="cpu"))


def import_graph(models_dir: Path) -> None:
    file = models_dir.parent / "graph.onnx"
    file.write_bytes(dense_onnx(np.ones((674, 1), np.float32), activation="Sigmoid"))
    import_model(ImportRequest(file, "graph", "facemesh", "probability", "MIT", threshold=0.7), models_dir)


def served(predictor: Predictor) -> list[tuple[str, int]]:
    return [(model.name, model.version) for model in asyncio.run(predictor.models())]


def test_a_model_that_was_added_is_served_after_a_new_revision(predictor: Predictor, models_dir: Path) -> None:
    """Not before, and beside those that were there."""
    import_graph(models_dir)
    assert served(predictor) == SHIPPED
    asyncio.run(predictor.reconfigure({"revision": 1}))
    assert served(predictor) == [("graph", 1), *SHIPPED]


def test_a_model_that_was_removed_is_gone_after_a_new_revision(predictor: Predictor, models_dir: Path) -> None:
    """Until then it serves, though its files are gone."""
    shutil.rmtree(models_dir / DEFAULT_MODEL / "2")
    assert served(predictor) == SHIPPED
    asyncio.run(predictor.reconfigure({"revision": 1}))
    assert served(predictor) == SHIPPED[:1]


@pytest.mark.parametrize("spoilt", ["weights.safetensors", "manifest.json", "card.md"])
def test_a_broken_folder_changes_nothing(
    predictor: Predictor, models_dir: Path, spoilt: str, caplog: pytest.LogCaptureFixture
) -> None:
    """All or none: the new model is not served either, and the log says what is broken."""
    import_graph(models_dir)
    (models_dir / DEFAULT_MODEL / "2" / spoilt).unlink()
    with caplog.at_level(logging.ERROR):
        asyncio.run(predictor.reconfigure({"revision": 1}))
    assert served(predictor) == SHIPPED
    assert f"model {DEFAULT_MODEL}/2: {spoilt} cannot be read" in caplog.text


def test_a_gpu_without_room_changes_nothing(
    predictor: Predictor, models_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Serve would stop the replica, and the one in its place would find as little room."""

    def find_no_room(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    import_graph(models_dir)
    monkeypatch.setattr("deployments.predictor.Detectors", find_no_room)
    with caplog.at_level(logging.ERROR):
        asyncio.run(predictor.reconfigure({"revision": 1}))
    assert served(predictor) == SHIPPED
    assert "CUDA out of memory" in caplog.text


def test_an_unknown_key_changes_nothing(
    predictor: Predictor, models_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is refused by name; the replica lives on."""
    import_graph(models_dir)
    with caplog.at_level(logging.ERROR):
        asyncio.run(predictor.reconfigure({"revison": 1}))
    assert served(predictor) == SHIPPED
    assert "revison" in caplog.text


def test_a_broken_folder_is_refused_at_the_start(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is nothing old to serve."""
    monkeypatch.setattr("deployments.predictor.log_through_serve", lambda: None)
    (models_dir / DEFAULT_MODEL / "2" / "weights.safetensors").write_bytes(b"other")
    with pytest.raises(ArtifactInvalid, match="SHA-256 differs"):
        Predictor(PredictorSettings(models_dir=models_dir, device="cpu"))


def test_an_imported_model_is_described_as_far_as_it_is_known(predictor: Predictor, models_dir: Path) -> None:
    """Its band is its threshold alone."""
    import_graph(models_dir)
    asyncio.run(predictor.reconfigure({}))
    described = asyncio.run(predictor.models())[0]
    assert (described.architecture, described.calibration, described.metrics) == ("onnx", "none", {})
    assert described.uncertain_band == (0.7, 0.7)
