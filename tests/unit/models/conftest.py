"""A copy of the shipped models to spoil, and simulated rows that no shipped model was trained on."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from serve_app.models.detector import Detector
from serve_app.models.registry import ModelRegistry
from serve_app.models.simulation import SimulatedRows, simulate
from serve_app.settings import DEFAULT_MODEL, PRETRAINED_DIR

FRESH_SEED = 20_240  # not a seed of the shipped model's training
EditManifest = Callable[..., None]


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


@pytest.fixture(scope="session")
def detector() -> Detector:
    return Detector.load(ModelRegistry(PRETRAINED_DIR), DEFAULT_MODEL, torch.device("cpu"))


@pytest.fixture(scope="session")
def fresh_rows() -> SimulatedRows:
    return simulate(FRESH_SEED, 300)
