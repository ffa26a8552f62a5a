"""Recipes: a small run from rows to an artifact that loads."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from serve_app.errors import ArtifactInvalid
from serve_app.models.artifact import write_artifact
from serve_app.models.detector import Detector
from serve_app.models.mixture import LabelledFolder
from serve_app.models.recipe import Recipe, gather_rows, train_model
from serve_app.models.registry import Manifest, ModelRegistry
from serve_app.models.simulation import simulate
from serve_app.models.training import EpochReport
from tests.unit.labelled_folder import write_labelled_folder

RECIPE = Recipe("facemesh", seed=5, n_identities=60, epochs=2)
Made = tuple[Path, Manifest]


def train(output_dir: Path, recipe: Recipe = RECIPE) -> Manifest:
    return train_model(output_dir, recipe, on_epoch=lambda report: None).manifest


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("trained")
    return folder, train(folder)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty people's CSVs."""
    return write_labelled_folder(tmp_path_factory.mktemp("labelled"), simulate(9, 30))


def test_a_trained_model_loads_and_scores(trained: Made) -> None:
    """What was written is what the registry accepts."""
    folder, manifest = trained
    registry = ModelRegistry(folder)
    assert registry.load_manifest(manifest.name, 1) == manifest
    detector = Detector.load(registry, manifest, torch.device("cpu"))
    assert np.ptp(detector.scores(simulate(10, 20).features)) > 0.0


def test_the_same_seed_trains_the_same_model(trained: Made, tmp_path: Path) -> None:
    """To the bit, on one machine."""
    assert train(tmp_path).weights_sha256 == trained[1].weights_sha256


def test_a_second_training_makes_a_new_version(trained: Made) -> None:
    """The old one stays as it was."""
    folder, first = trained
    assert train(folder, replace(RECIPE, seed=6)).version == 2
    assert ModelRegistry(folder).load_manifest(first.name, 1) == first


def test_a_training_beside_another_ends_too(tmp_path: Path) -> None:
    """The other one has removed the checkpoint that both have kept."""

    def end_another(report: EpochReport) -> None:
        if report.epoch == report.epochs:
            train(tmp_path)

    assert train_model(tmp_path, RECIPE, on_epoch=end_another).manifest.version == 2


def test_a_version_is_never_overwritten(trained: Made) -> None:
    """A failed write leaves no half of a model, and what was there as it was."""
    folder, manifest = trained
    with pytest.raises(OSError, match="not empty"):
        write_artifact(folder, manifest, b"other", "# A card")
    versions = folder / manifest.name
    assert all(path.name.isdigit() for path in versions.iterdir())
    assert ModelRegistry(folder).load_weights(manifest) != b"other"


def test_a_model_for_openface_says_so(tmp_path: Path) -> None:
    """In its manifest, and in its card, which says what of OpenFace it does not read."""
    manifest = train(tmp_path, Recipe("openface", seed=5, n_identities=20, epochs=1))
    card = ModelRegistry(tmp_path).load_card(manifest)
    assert manifest.backend == "openface"
    assert "`openface` extractor" in card
    assert "`p_0` to `p_33`" in card


def test_the_card_shows_every_metric(trained: Made) -> None:
    """And what it was trained on."""
    folder, manifest = trained
    card = ModelRegistry(folder).load_card(manifest)
    assert all(f"| {name} |" in card for name in manifest.metrics if not name.endswith(("_low", "_high")))
    assert "60 simulated identities" in card


def test_a_finished_training_leaves_no_checkpoint(trained: Made) -> None:
    """Only the model's folder."""
    folder, manifest = trained
    assert [path.name for path in folder.iterdir()] == [manifest.name]


def test_a_new_model_knows_what_is_far_from_its_training(trained: Made) -> None:
    """Its limits are in the manifest, its constants among the weights; so is the uncertain band, around 1/2."""
    _, manifest = trained
    assert manifest.novelty is not None
    assert manifest.uncertain_band is not None
    assert manifest.uncertain_band.low <= 0.5 <= manifest.uncertain_band.high


def test_every_metric_has_an_interval_around_it(trained: Made) -> None:
    """A training that is repeated on the same machine must lie within them."""
    metrics = trained[1].metrics
    for name in {name for name in metrics if not name.endswith(("_low", "_high"))}:
        assert metrics[f"{name}_low"] <= metrics[name] <= metrics[f"{name}_high"]


def test_a_name_that_leads_out_of_the_folder_is_refused_at_once(tmp_path: Path) -> None:
    """Before an hour of training, and before a checkpoint is written elsewhere."""
    with pytest.raises(ArtifactInvalid, match="cannot be called"):
        train(tmp_path, replace(RECIPE, name="../elsewhere"))


def test_a_folder_that_cannot_be_written_is_named_at_once(tmp_path: Path) -> None:
    """Before the rows are gathered, which would fail here otherwise."""
    (tmp_path / "file").touch()
    unread = replace(RECIPE, labelled=LabelledFolder(tmp_path / "absent", 1.0, 8))
    with pytest.raises(OSError, match="file/models cannot be written: Not a directory"):
        train(tmp_path / "file" / "models", unread)


def test_labelled_rows_alone_make_a_model(labelled: Path, tmp_path: Path) -> None:
    """Its metrics are not called simulated, and its card says what it is."""
    manifest = train(tmp_path, replace(RECIPE, name="mine", labelled=LabelledFolder(labelled, 1.0, 8)))
    assert "auc" in manifest.metrics
    assert not any("simulated" in name for name in manifest.metrics)
    assert manifest.training is not None
    assert manifest.training.n_rows == manifest.training.n_labelled_rows > 0
    card = ModelRegistry(tmp_path).load_card(manifest)
    assert "never seen a deepfake of another kind" in card
    assert "Licence: not stated" in card  # most sets of deepfakes are for research alone
    assert "simulated identities" not in card
    assert "were simulated" not in card


def test_labelled_rows_mix_with_simulated_ones(labelled: Path) -> None:
    """In the share that was asked for; each part's people are measured by themselves, calibration is on labelled."""
    rows = gather_rows(replace(RECIPE, labelled=LabelledFolder(labelled, 0.25, 8)))
    is_labelled = rows.drawn >= len(rows.train) - rows.n_labelled
    assert is_labelled.mean() == pytest.approx(0.25, abs=0.005)
    assert set(rows.drawn.tolist()) == set(range(len(rows.train)))
    assert set(rows.tests) == {"_simulated", ""}
    assert len(rows.validation) + len(rows.tests[""]) + rows.n_labelled == 120


def test_no_person_of_the_training_is_measured(labelled: Path) -> None:
    """A row of each person is told by its features; none of the test's is among the training's."""
    rows = gather_rows(replace(RECIPE, labelled=LabelledFolder(labelled, 1.0, 8)))
    seen = set(rows.train.group.tolist())
    assert seen.isdisjoint(rows.tests[""].group.tolist())
    assert seen.isdisjoint(rows.validation.group.tolist())
