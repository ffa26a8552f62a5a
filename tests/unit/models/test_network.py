"""The network and its inputs."""

import numpy as np
import pytest
import torch
from safetensors.torch import load as load_safetensors

from serve_app.features.geometry import rotation_from_euler
from serve_app.features.schema import FEATURE_COLUMNS, FEATURE_SLICES
from serve_app.features.shape import REFERENCE_SHAPE, SHAPE_MODES
from serve_app.models.detector import Detector
from serve_app.models.inputs import MIRRORED_POINTS, N_POINTS, euler_to_rotation
from serve_app.models.registry import ModelRegistry
from serve_app.models.simulation import SimulatedRows
from serve_app.settings import DEFAULT_MODEL, PRETRAINED_DIR


@pytest.mark.parametrize("value", [0.0, 1e-40, 1e30, -1e30, 3e38, -3e38])
def test_any_finite_row_has_a_finite_score(detector: Detector, value: float) -> None:
    """However far it is from a face."""
    assert np.isfinite(detector.scores(np.full((3, 674), value, np.float32))).all()


def test_huge_random_rows_have_finite_scores(detector: Detector) -> None:
    """No product of them overflows into nan."""
    rows = np.random.default_rng(0).normal(size=(200, 674)) * 1e37
    assert np.isfinite(detector.scores(rows.astype(np.float32))).all()


def test_rotations_are_those_of_the_extractor() -> None:
    """One Euler convention on both sides of the CSV."""
    euler = np.random.default_rng(0).normal(size=(20, 3))
    ours = euler_to_rotation(torch.tensor(euler)).numpy()
    np.testing.assert_allclose(ours, rotation_from_euler(euler), atol=1e-12)


def test_the_shipped_weights_hold_the_shape_that_the_extractor_fits() -> None:
    """A new reference shape gives new parameters, and wants a new training."""
    registry = ModelRegistry(PRETRAINED_DIR)
    tensors = load_safetensors(registry.load_weights(registry.load_manifest(DEFAULT_MODEL)))
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
