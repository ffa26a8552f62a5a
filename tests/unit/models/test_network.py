"""The network and its inputs."""

import numpy as np
import pytest
import torch
from safetensors.torch import load as load_safetensors

from serve_app.features.geometry import rotation_from_euler
from serve_app.features.schema import FEATURE_COLUMNS, FEATURE_SLICES
from serve_app.features.shape import REFERENCE_SHAPE, SHAPE_MODES
from serve_app.models.detector import Detector
from serve_app.models.inputs import MIRRORED_POINTS, N_POINTS, euler_to_rotation, unturn
from serve_app.models.registry import ModelRegistry
from serve_app.models.simulation import SimulatedRows
from serve_app.settings import DEFAULT_MODEL, PRETRAINED_DIR


@pytest.mark.parametrize("value", [0.0, 1e-40, 1e30, -1e30, 3e38, -3e38])
def test_any_finite_row_has_a_finite_score(detector: Detector, value: float) -> None:
    """However far it is from a face."""
    assert np.isfinite(detector.scores(np.full((3, 674), value, np.float32))).all()


def test_huge_random_rows_have_finite_scores(detector: Detector, openface_detector: Detector) -> None:
    """No product of them overflows into nan."""
    rows = (np.random.default_rng(0).normal(size=(200, 674)) * 1e37).astype(np.float32)
    assert np.isfinite(detector.scores(rows)).all()
    assert np.isfinite(openface_detector.scores(rows)).all()


@pytest.mark.parametrize("columns", ["shape", "landmarks_3d", "eye_landmarks_3d"])
def test_what_only_openfaces_own_models_know_does_not_matter(
    openface_detector: Detector, fresh_openface_rows: SimulatedRows, columns: str
) -> None:
    """Its parameters are of modes unknown here, its relief its model's, its eyes afloat: any values score alike."""
    rows = fresh_openface_rows.features[:50]
    changed = rows.copy()
    changed[:, FEATURE_SLICES[columns]] = np.random.default_rng(0).normal(
        0.0, 1e3, changed[:, FEATURE_SLICES[columns]].shape
    )
    np.testing.assert_array_equal(openface_detector.scores(changed), openface_detector.scores(rows))


def test_a_face_unturned_turns_back_to_where_it_was_seen() -> None:
    """On the reference's relief, at any pose an extractor finds."""
    rotation = torch.tensor(rotation_from_euler(np.random.default_rng(0).normal(0.0, 0.4, (20, 3))))
    shape = torch.tensor(REFERENCE_SHAPE.T.copy())
    unturned = unturn((rotation @ shape)[:, :2], rotation, shape[2:])
    np.testing.assert_allclose(unturned, shape.expand(20, 3, 68), atol=1e-9)


def test_rotations_are_those_of_the_extractor() -> None:
    """One Euler convention on both sides of the CSV."""
    euler = np.random.default_rng(0).normal(size=(20, 3))
    ours = euler_to_rotation(torch.tensor(euler)).numpy()
    np.testing.assert_allclose(ours, rotation_from_euler(euler), atol=1e-12)


def test_the_shipped_weights_hold_the_shape_that_the_extractor_fits() -> None:
    """A new reference shape gives new parameters, and wants a new training."""
    registry = ModelRegistry(PRETRAINED_DIR)
    tensors = load_safetensors(registry.load_weights(registry.load_manifest(DEFAULT_MODEL, 1)))
    np.testing.assert_allclose(tensors["inputs.reference"].numpy(), REFERENCE_SHAPE.T, atol=1e-5)
    modes = tensors["inputs.basis"].numpy().reshape(-1, 3, 68)
    np.testing.assert_allclose(modes, SHAPE_MODES.transpose(0, 2, 1), atol=1e-6)


def test_mirroring_twice_changes_nothing() -> None:
    """Every point has one twin, whose twin it is."""
    assert [MIRRORED_POINTS[twin] for twin in MIRRORED_POINTS] == list(range(N_POINTS))


def test_a_face_elsewhere_in_the_picture_scores_nearly_alike(detector: Detector, fresh_rows: SimulatedRows) -> None:
    """All that is 2D is moved by 40 px; the network sees it relative to the face."""
    moved = fresh_rows.features.copy()
    for name in ("landmarks_2d", "eye_landmarks_2d"):
        moved[:, FEATURE_SLICES[name]] += 40.0
    for name in ("p_tx", "p_ty"):
        moved[:, FEATURE_COLUMNS.index(name)] += 40.0
    assert np.abs(detector.scores(moved) - detector.scores(fresh_rows.features)).max() < 0.01
