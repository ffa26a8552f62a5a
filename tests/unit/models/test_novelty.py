"""What is far from a model's training: by its geometry, or cut off by the picture's edge."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from serve_app.demo import talking_head_frames
from serve_app.errors import ArtifactInvalid
from serve_app.extractors.facemesh.extractor import FaceMeshExtractor
from serve_app.features.schema import FEATURE_SLICES
from serve_app.features.table import read_face
from serve_app.models.artifact import pack_weights
from serve_app.models.detector import Detector
from serve_app.models.network import DeepfakeNet
from serve_app.models.novelty import Novelty, fit_novelty, share_outside
from serve_app.models.registry import ModelRegistry, NoveltyLimits
from serve_app.models.simulation import SimulatedRows, simulate
from serve_app.models.training import reference_tensors
from serve_app.settings import DEFAULT_MODEL, Backend
from tests.unit.models.conftest import EditManifest

Rows = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Fitted:
    """A network that was never trained, whose novelty was fitted."""

    network: DeepfakeNet
    novelty: Novelty
    limits: NoveltyLimits

    def distances(self, rows: Rows) -> Rows:
        """In limits: above 1 is out of distribution."""
        with torch.no_grad():
            distances: torch.Tensor = self.novelty(*self.network.inputs(torch.from_numpy(rows)))
        return (distances / self.limits.distance).numpy()


def fit(backend: Backend) -> Fitted:
    training, held_out = (simulate(seed, 200, backend=backend).features for seed in (11, 12))
    network = DeepfakeNet(backend).eval()
    network.inputs.fit(torch.from_numpy(training), *reference_tensors())
    network.novelty, limits = fit_novelty(network.inputs, training, held_out)
    return Fitted(network, network.novelty, limits)


@pytest.fixture(scope="module")
def facemesh() -> Fitted:
    return fit("facemesh")


@pytest.fixture(scope="module")
def openface() -> Fitted:
    return fit("openface")


def test_fresh_faces_and_their_fakes_are_known(facemesh: Fitted, fresh_rows: SimulatedRows) -> None:
    """The limit holds for a third set of people: a fake is no stranger for being fake."""
    is_far = facemesh.distances(fresh_rows.features) > 1
    assert is_far[fresh_rows.labels == 0].mean() <= 0.02
    assert is_far[fresh_rows.labels == 1].mean() <= 0.03


def test_columns_of_different_faces_together_are_far(facemesh: Fitted, fresh_rows: SimulatedRows) -> None:
    """Each value is usual, all of them together are no face."""
    rng = np.random.default_rng(3)
    assert facemesh.distances(rng.permuted(fresh_rows.features, axis=0)).min() > 1


def test_landmarks_that_jitter_are_far(facemesh: Fitted, fresh_rows: SimulatedRows) -> None:
    """By 2 % of the face's width each, the rest of the row untouched."""
    rows = fresh_rows.features.copy()
    landmarks = rows[:, FEATURE_SLICES["landmarks_2d"]]
    width = np.ptp(landmarks[:, :68], axis=1, keepdims=True)
    landmarks += np.random.default_rng(4).normal(size=landmarks.shape) * 0.02 * width
    assert (facemesh.distances(rows) > 1).mean() >= 0.95


def test_another_extractors_rows_are_far(facemesh: Fitted, fresh_openface_rows: SimulatedRows) -> None:
    """Should they ever come past the refusal of another backend's features."""
    assert (facemesh.distances(fresh_openface_rows.features) > 1).mean() >= 0.95


def test_real_openface_rows_are_known(openface: Fitted, golden_rows: Rows) -> None:
    """A simulation to which the real extractor is a stranger would flag everybody."""
    assert openface.distances(golden_rows).max() < 1


@pytest.fixture(scope="module")
def frames(portrait: bytes) -> list[bytes]:
    """A face wholly in the picture."""
    return talking_head_frames(portrait, n_frames=5)


@pytest.mark.parametrize(("side", "box"), [("left", (300, 0, 640, 480)), ("bottom", (0, 0, 640, 290))])
def test_a_face_cut_off_by_the_pictures_edge_is_outside(
    facemesh: Fitted, extractor: FaceMeshExtractor, frames: list[bytes], side: str, box: tuple[int, int, int, int]
) -> None:
    """The landmark network completes it to a likely face, so that its distance alone says nothing."""
    whole, cut = (extracted(extractor, frames, crop) for crop in ((0, 0, 640, 480), box))
    assert facemesh.distances(np.concatenate([whole, cut])).max() < 1, side
    assert share_outside(torch.from_numpy(whole)).max() == 0
    assert share_outside(torch.from_numpy(cut)).min() > facemesh.limits.outside


def extracted(extractor: FaceMeshExtractor, frames: list[bytes], box: tuple[int, int, int, int]) -> Rows:
    def cropped(frame: bytes) -> bytes:
        file = BytesIO()
        with Image.open(BytesIO(frame)) as picture:
            picture.crop(box).save(file, "BMP")  # without loss, and sooner than a PNG
        return file.getvalue()

    return np.stack([read_face(extractor.extract(cropped(frame)).csv, min_confidence=0.7).features for frame in frames])


def load(
    fitted: Fitted, models_dir: Path, model_folder: Path, edit_manifest: EditManifest, **changes: object
) -> Detector:
    """Put the network in a shipped model's place and load it."""
    weights, sha256 = pack_weights(fitted.network)
    (model_folder / "weights.safetensors").write_bytes(weights)
    edit_manifest(weights_sha256=sha256, **changes)
    registry = ModelRegistry(models_dir)
    return Detector.load(registry, registry.load_manifest(DEFAULT_MODEL, 1), torch.device("cpu"))


def test_the_constants_are_saved_with_the_weights(
    facemesh: Fitted, fresh_rows: SimulatedRows, models_dir: Path, model_folder: Path, edit_manifest: EditManifest
) -> None:
    """And the limits with the manifest: a row beyond one of them is above 1."""
    detector = load(facemesh, models_dir, model_folder, edit_manifest, novelty=facemesh.limits.model_dump())
    novelty = detector.judge(fresh_rows.features).novelty
    assert novelty is not None
    outside = share_outside(torch.from_numpy(fresh_rows.features)).numpy() / facemesh.limits.outside
    np.testing.assert_allclose(novelty, np.maximum(facemesh.distances(fresh_rows.features), outside), rtol=1e-4)


def test_limits_without_constants_are_refused(
    facemesh: Fitted, models_dir: Path, model_folder: Path, edit_manifest: EditManifest
) -> None:
    """And the other way round: one of them alone says nothing."""
    with pytest.raises(ArtifactInvalid, match="do not fit the network"):
        load(facemesh, models_dir, model_folder, edit_manifest, novelty=None)
    bare = Fitted(DeepfakeNet("facemesh"), facemesh.novelty, facemesh.limits)
    with pytest.raises(ArtifactInvalid, match="do not fit the network"):
        load(bare, models_dir, model_folder, edit_manifest, novelty=facemesh.limits.model_dump())


def test_a_model_from_before_there_was_novelty_says_nothing_of_it(
    fresh_rows: SimulatedRows, models_dir: Path, model_folder: Path, edit_manifest: EditManifest, facemesh: Fitted
) -> None:
    """None, rather than a row that passes for known."""
    bare = Fitted(DeepfakeNet("facemesh"), facemesh.novelty, facemesh.limits)
    detector = load(bare, models_dir, model_folder, edit_manifest, novelty=None)
    assert detector.judge(fresh_rows.features[:3]).novelty is None


@pytest.mark.parametrize("fill", [0.0, -1.0, 1e9])
def test_any_finite_row_has_a_novelty(facemesh: Fitted, fill: float) -> None:
    """A row of nonsense is far, not nan."""
    row = np.full((1, 674), fill, np.float32)
    assert facemesh.distances(row) > 1
    assert 0 <= share_outside(torch.from_numpy(row)) <= 1
