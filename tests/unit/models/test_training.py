"""Training: a small run from simulation to an artifact that loads."""

from pathlib import Path

import numpy as np
import pytest
import torch

from serve_app.models.artifact import write_artifact
from serve_app.models.detector import Detector
from serve_app.models.registry import Manifest, ModelRegistry
from serve_app.models.simulation import SimulatedRows
from serve_app.models.training import EpochReport, Recipe, train_default


def train(output_dir: Path, reports: list[EpochReport], seed: int = 5) -> Manifest:
    recipe = Recipe("facemesh", seed, n_identities=60, epochs=2)
    return train_default(output_dir, recipe, on_progress=reports.append)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest, list[EpochReport]]:
    folder, reports = tmp_path_factory.mktemp("trained"), list[EpochReport]()
    return folder, train(folder, reports), reports


def test_a_trained_model_loads_and_scores(
    trained: tuple[Path, Manifest, list[EpochReport]], fresh_rows: SimulatedRows
) -> None:
    """What was written is what the registry accepts."""
    folder, manifest, _ = trained
    registry = ModelRegistry(folder)
    assert registry.load_manifest(manifest.name, 1) == manifest
    detector = Detector.load(registry, manifest, torch.device("cpu"))
    assert np.ptp(detector.scores(fresh_rows.features[:50])) > 0.0


def test_progress_is_told_epoch_by_epoch(trained: tuple[Path, Manifest, list[EpochReport]]) -> None:
    """With the loss going down."""
    first, last = trained[2]
    assert [(report.epoch, report.epochs) for report in (first, last)] == [(1, 2), (2, 2)]
    assert last.loss < first.loss


def test_the_same_seed_trains_the_same_model(trained: tuple[Path, Manifest, list[EpochReport]], tmp_path: Path) -> None:
    """To the bit, on one machine."""
    assert train(tmp_path, []).weights_sha256 == trained[1].weights_sha256


def test_a_second_training_makes_a_new_version(trained: tuple[Path, Manifest, list[EpochReport]]) -> None:
    """The old one stays as it was."""
    folder, first, _ = trained
    assert train(folder, [], seed=6).version == 2
    assert ModelRegistry(folder).load_manifest(first.name, 1) == first


def test_a_version_is_never_overwritten(trained: tuple[Path, Manifest, list[EpochReport]]) -> None:
    """A failed write leaves no half of a model, and what was there as it was."""
    folder, manifest, _ = trained
    with pytest.raises(OSError, match="not empty"):
        write_artifact(folder, manifest, b"other", "# A card")
    versions = folder / manifest.name
    assert all(path.name.isdigit() for path in versions.iterdir())
    assert ModelRegistry(folder).load_weights(manifest) != b"other"


def test_a_model_for_openface_says_so(tmp_path: Path) -> None:
    """In its manifest, and in its card, which says what of OpenFace it does not read."""
    recipe = Recipe("openface", seed=5, n_identities=20, epochs=1)
    manifest = train_default(tmp_path, recipe, on_progress=lambda report: None)
    card = ModelRegistry(tmp_path).load_card(manifest)
    assert manifest.backend == "openface"
    assert "`openface` extractor" in card
    assert "`p_0` to `p_33`" in card


def test_the_card_shows_every_metric(trained: tuple[Path, Manifest, list[EpochReport]]) -> None:
    """And what it was trained on."""
    folder, manifest, _ = trained
    card = ModelRegistry(folder).load_card(manifest)
    assert all(name in card for name in manifest.metrics)
    assert "60 simulated identities" in card
