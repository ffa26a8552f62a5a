"""A copy of the shipped models to spoil, and simulated rows that no shipped model was trained on."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from serve_app.features.table import read_face
from serve_app.models.detector import Detector
from serve_app.models.network import DeepfakeNet
from serve_app.models.registry import ModelRegistry
from serve_app.models.runtimes import load_network
from serve_app.models.simulation import SimulatedRows, simulate
from serve_app.settings import DEFAULT_MODEL, PRETRAINED_DIR

FRESH_SEED = 20_240  # not a seed of the shipped model's training
EditManifest = Callable[..., None]

torch.set_num_threads(1)  # as the service does; more of them only contend, and many times slower, on busy cores


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PRETRAINED_DIR, tmp_path / "models"))


@pytest.fixture
def model_folder(models_dir: Path) -> Path:
    return models_dir / DEFAULT_MODEL / "1"


@pytest.fixture
def edit_manifest(model_folder: Path) -> EditManifest:
    def edit(**changes: Any) -> None:
        path = model_folder / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return edit


def load_shipped(version: int) -> Detector:
    registry = ModelRegistry(PRETRAINED_DIR)
    return Detector.load(registry, registry.load_manifest(DEFAULT_MODEL, version), torch.device("cpu"))


@pytest.fixture
def trained_network() -> DeepfakeNet:
    """The shipped one for the face mesh, as training left it."""
    registry = ModelRegistry(PRETRAINED_DIR)
    manifest = registry.load_manifest(DEFAULT_MODEL, 1)
    return load_network(manifest, registry.load_weights(manifest)).eval()


@pytest.fixture(scope="session")
def detector() -> Detector:
    """The shipped model for the face mesh."""
    return load_shipped(1)


@pytest.fixture(scope="session")
def openface_detector() -> Detector:
    """The shipped model for OpenFace."""
    return load_shipped(2)


@pytest.fixture(scope="session")
def fresh_rows() -> SimulatedRows:
    return simulate(FRESH_SEED, 300)


@pytest.fixture(scope="session")
def fresh_openface_rows() -> SimulatedRows:
    return simulate(FRESH_SEED, 300, backend="openface")


@pytest.fixture(scope="session")
def golden_rows(golden: Path) -> npt.NDArray[np.float32]:
    """What the real OpenFace wrote of 30 frames: ``(30, 674) float32``."""
    csvs = [path.read_bytes() for path in sorted((golden / "image_sequence" / "csv").iterdir())]
    return np.stack([read_face(csv, min_confidence=0.7).features for csv in csvs])
