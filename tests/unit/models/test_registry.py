"""The model registry: what it finds, and all that it refuses."""

import errno
import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from serve_app.errors import ArtifactInvalid
from serve_app.features.schema import FEATURE_COLUMNS
from serve_app.models.registry import ModelRegistry, feature_list
from serve_app.settings import DEFAULT_MODEL, PRETRAINED_DIR
from tests.unit.models.conftest import EditManifest


def test_versions_are_in_the_order_of_their_numbers(models_dir: Path, model_folder: Path) -> None:
    """10 is newer than 9; folders that are no version do not count."""
    for name in ("9", "10", "latest", "011"):
        shutil.copytree(model_folder, model_folder.parent / name)
    assert ModelRegistry(models_dir).versions(DEFAULT_MODEL) == [1, 2, 9, 10]


def test_all_manifests_are_read_by_name_and_version(models_dir: Path) -> None:
    """The shipped two, one for each backend."""
    manifests = ModelRegistry(models_dir).manifests()
    assert [(manifest.version, manifest.backend) for manifest in manifests] == [(1, "facemesh"), (2, "openface")]


def test_only_folders_with_a_version_are_models(models_dir: Path) -> None:
    """A stray file or an empty folder is not one."""
    (models_dir / "notes.txt").touch()
    (models_dir / "empty").mkdir()
    assert ModelRegistry(models_dir).names() == [DEFAULT_MODEL]


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    """The message names the option and the setting."""
    with pytest.raises(ArtifactInvalid, match=r"--models-dir, MODELS_DIR or the config's models_dir"):
        ModelRegistry(tmp_path / "absent").names()


@pytest.mark.parametrize("closed", ["models", DEFAULT_MODEL])
def test_a_folder_that_may_not_be_read_is_refused(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    """Another user's; the test may run as root, whom no folder is closed to."""
    list_folder = Path.iterdir

    def refuse(folder: Path) -> Iterator[Path]:
        if folder.name == closed:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return list_folder(folder)

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(ArtifactInvalid, match=f"{closed} cannot be read .Permission denied"):
        ModelRegistry(models_dir).names()


@pytest.mark.parametrize("name", ["../models/mobilenetv2_celebv2", "/etc", "..", "", "a/b", "a\0b", "other"])
def test_a_name_cannot_leave_the_folder(models_dir: Path, name: str) -> None:
    """What is not a plain name of a model here does not exist."""
    with pytest.raises(ArtifactInvalid, match="there is no model"):
        ModelRegistry(models_dir).load_manifest(name, 1)


def test_an_absent_version_is_refused(models_dir: Path) -> None:
    """The message lists those that exist."""
    with pytest.raises(ArtifactInvalid, match=r"no version 7; it has \[1, 2\]"):
        ModelRegistry(models_dir).load_manifest(DEFAULT_MODEL, 7)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "transformer"}, "architecture: Input should be 'inverted-residual-1d'"),
        ({"backend": "dlib"}, "backend: Input should be"),
        ({"threshold": 1.5}, "threshold"),
        ({"calibration": {"method": "temperature", "temperature": 0}}, r"calibration\.temperature"),
        ({"weights_sha256": "0"}, "weights_sha256"),
        ({"card": "../../secret.md"}, "card: Input should be 'card.md'"),
        ({"surprise": 1}, "surprise: Extra inputs are not permitted"),
        ({"name": "other"}, "its manifest is of other/1; rename"),
        ({"version": 2}, "its manifest is of mobilenetv2_celebv2/2; rename"),
    ],
)
def test_a_manifest_that_does_not_hold_is_refused(
    models_dir: Path, edit_manifest: EditManifest, changes: dict[str, object], message: str
) -> None:
    """The message names the model and the field."""
    edit_manifest(**changes)
    with pytest.raises(ArtifactInvalid, match=f"^model mobilenetv2_celebv2/1: .*{message}"):
        ModelRegistry(models_dir).load_manifest(DEFAULT_MODEL, 1)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"name": "mobilenetv2_celebv2"}'])
def test_a_manifest_that_is_not_one_is_refused(models_dir: Path, model_folder: Path, text: str) -> None:
    """Broken JSON, or JSON of something else."""
    (model_folder / "manifest.json").write_text(text)
    with pytest.raises(ArtifactInvalid, match=r"manifest\.json is not valid"):
        ModelRegistry(models_dir).load_manifest(DEFAULT_MODEL, 1)


@pytest.mark.parametrize("names", [FEATURE_COLUMNS[1::-1] + FEATURE_COLUMNS[2:], FEATURE_COLUMNS[:-1]])
def test_other_features_are_refused(models_dir: Path, edit_manifest: EditManifest, names: tuple[str, ...]) -> None:
    """Two swapped columns are enough."""
    edit_manifest(features=feature_list(names).model_dump())
    with pytest.raises(ArtifactInvalid, match="trained on other features"):
        ModelRegistry(models_dir).load_manifest(DEFAULT_MODEL, 1)


@pytest.mark.parametrize("name", ["weights.safetensors", "card.md", "manifest.json"])
def test_a_missing_file_is_refused(models_dir: Path, model_folder: Path, name: str) -> None:
    """Whichever of the three it is."""
    manifest = ModelRegistry(models_dir).load_manifest(DEFAULT_MODEL, 1)
    (model_folder / name).unlink()
    registry = ModelRegistry(models_dir)
    with pytest.raises(ArtifactInvalid, match=f"{name} cannot be read"):
        registry.load_card(manifest), registry.load_weights(manifest), registry.load_manifest(DEFAULT_MODEL, 1)


def test_weights_with_another_hash_are_refused(models_dir: Path, model_folder: Path) -> None:
    """One flipped bit is enough."""
    path = model_folder / "weights.safetensors"
    weights = bytearray(path.read_bytes())
    weights[-1] ^= 1
    path.write_bytes(weights)
    registry = ModelRegistry(models_dir)
    with pytest.raises(ArtifactInvalid, match="SHA-256 differs"):
        registry.load_weights(registry.load_manifest(DEFAULT_MODEL, 1))


def test_pickled_weights_are_not_read(models_dir: Path, model_folder: Path, edit_manifest: EditManifest) -> None:
    """There is one file name, and what lies under it is never unpickled."""
    pickled = pickle.dumps({"weights": [0.0]})
    (model_folder / "weights.pt").write_bytes(pickled)
    (model_folder / "weights.safetensors").unlink()
    edit_manifest(weights_sha256=hashlib.sha256(pickled).hexdigest())
    registry = ModelRegistry(models_dir)
    with pytest.raises(ArtifactInvalid, match=r"weights\.safetensors cannot be read"):
        registry.load_weights(registry.load_manifest(DEFAULT_MODEL, 1))


@pytest.mark.parametrize(("version", "backend"), [(1, "facemesh"), (2, "openface")])
def test_a_shipped_card_says_first_what_the_model_is_not(version: int, backend: str) -> None:
    """Nobody should have to scroll for it; and then whose features it takes."""
    registry = ModelRegistry(PRETRAINED_DIR)
    _, first, *rest = registry.load_card(registry.load_manifest(DEFAULT_MODEL, version)).split("\n\n")
    assert "never seen a real deepfake" in first
    assert "must not be the only ground" in first.replace("\n", " ")
    assert f"`{backend}` extractor" in rest[0]


@pytest.mark.parametrize("name", ["weights.safetensors", "card.md", "manifest.json"])
def test_a_link_out_of_the_models_folder_is_refused(models_dir: Path, model_folder: Path, name: str) -> None:
    """What it leads to is not read; the message says what to do."""
    outside = (model_folder / name).rename(models_dir.parent / name)
    (model_folder / name).symlink_to(outside)
    registry = ModelRegistry(models_dir)
    with pytest.raises(ArtifactInvalid, match=f"{name} lies outside .*; copy it in place of the link"):
        manifest = registry.load_manifest(DEFAULT_MODEL, 1)
        registry.load_weights(manifest), registry.load_card(manifest)


def test_a_link_within_the_models_folder_is_followed(models_dir: Path, model_folder: Path) -> None:
    """As Kubernetes mounts files."""
    hidden = models_dir / "..data"
    hidden.mkdir()
    for path in list(model_folder.iterdir()):
        path.rename(hidden / path.name)
        path.symlink_to(hidden / path.name)
    registry = ModelRegistry(models_dir)
    assert registry.load_weights(registry.load_manifest(DEFAULT_MODEL, 1))


def test_a_manifest_needs_no_metrics_training_or_calibration(models_dir: Path, model_folder: Path) -> None:
    """Of a model made elsewhere nothing of it is known."""
    path = model_folder / "manifest.json"
    known = json.loads(path.read_text())
    for key in ("metrics", "training", "calibration", "uncertain_band"):
        del known[key]
    path.write_text(json.dumps(known))
    manifest = ModelRegistry(models_dir).load_manifest(DEFAULT_MODEL, 1)
    assert (manifest.calibration, manifest.uncertain_band, manifest.training, manifest.metrics) == (
        None,
        None,
        None,
        {},
    )
