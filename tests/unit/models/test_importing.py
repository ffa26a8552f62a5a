"""Importing: a version that serves, or nothing at all."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serve_app.errors import ArtifactInvalid
from serve_app.models.importing import ImportRequest, import_model
from serve_app.models.registry import ModelRegistry
from tests.exports import Scorer, dense_onnx, export_pt2


@pytest.fixture
def request_of_onnx(tmp_path: Path) -> ImportRequest:
    file = tmp_path / "keras.onnx"
    file.write_bytes(dense_onnx(np.ones((674, 2), np.float32), activation="Softmax"))
    return ImportRequest(file, "mine", "openface", "probability", "CC-BY-4.0", threshold=0.4)


def test_an_import_is_the_next_version(request_of_onnx: ImportRequest, tmp_path: Path) -> None:
    """Found by the registry, with what was said of it and a card that says what is not known."""
    models_dir = tmp_path / "models"
    assert [import_model(request_of_onnx, models_dir).version for _ in range(2)] == [1, 2]
    registry = ModelRegistry(models_dir)
    manifest = registry.load_manifest("mine", 2)
    assert (manifest.backend, manifest.threshold, manifest.license) == ("openface", 0.4, "CC-BY-4.0")
    assert registry.load_weights(manifest) == request_of_onnx.file.read_bytes()
    assert "must not be the only ground" in registry.load_card(manifest)


def test_a_card_is_kept(request_of_onnx: ImportRequest, tmp_path: Path) -> None:
    """As it was given."""
    manifest = import_model(replace(request_of_onnx, card="# Mine\n"), tmp_path / "models")
    assert ModelRegistry(tmp_path / "models").load_card(manifest) == "# Mine\n"


@pytest.mark.parametrize(
    ("name", "way_out"),
    [
        ("model.h5", "tf2onnx"),
        ("model.keras", "tf2onnx"),
        ("model.pth", r"torch\.onnx\.export"),
        ("model.PKL", r"torch\.export\.save"),
        ("model", r"only \.onnx and \.pt2"),
    ],
)
def test_other_kinds_of_files_are_refused(tmp_path: Path, name: str, way_out: str) -> None:
    """The message names the way out; nothing is opened but to read its bytes."""
    (tmp_path / name).write_bytes(b"\x80\x04N.")
    with pytest.raises(ArtifactInvalid, match=way_out):
        import_model(ImportRequest(tmp_path / name, "mine", "facemesh", "logit", "MIT"), tmp_path / "models")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output": "logit", "name": "../evil"}, "name: String should match pattern"),
        ({"threshold": 1.5}, "threshold: Input should be less than 1"),
    ],
)
def test_a_wrong_request_leaves_nothing(
    request_of_onnx: ImportRequest, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    """No folder, no part of one."""
    with pytest.raises(ArtifactInvalid, match=message):
        import_model(replace(request_of_onnx, **changes), tmp_path / "models")  # type: ignore[arg-type]  # by name
    assert not (tmp_path / "models").exists()


def test_a_model_that_does_not_do_what_was_said_leaves_nothing(tmp_path: Path) -> None:
    """A fixed batch shows on the rows of zeros that it is tried on."""
    file = export_pt2(Scorer(), tmp_path / "fixed.pt2", n_rows=1)
    with pytest.raises(ArtifactInvalid, match="model mine/1: it fails on 3 rows of zeros"):
        import_model(ImportRequest(file, "mine", "facemesh", "logit", "MIT"), tmp_path / "models")
    assert not (tmp_path / "models").exists()
