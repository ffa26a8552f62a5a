"""The reference face and its modes."""

import numpy as np
import pytest

from serve_app.features.shape import REFERENCE_SHAPE, SHAPE_MODES, params_from_shape, shape_from_params

FLAT = SHAPE_MODES.reshape(34, 204)


def test_the_reference_is_centred_symmetric_and_upright() -> None:
    """Centroid 0; X mirrors between the ears; the chin is below the brows, the nose nearest to the camera."""
    assert np.allclose(REFERENCE_SHAPE.mean(axis=0), 0)
    assert np.allclose(REFERENCE_SHAPE[:17], REFERENCE_SHAPE[16::-1] * [-1, 1, 1])
    assert REFERENCE_SHAPE[8, 1] > 0 > REFERENCE_SHAPE[19, 1]
    assert REFERENCE_SHAPE[:, 2].argmin() == 30


def test_the_reference_is_as_large_as_a_face() -> None:
    """Millimetres: the outer corners of the eyes are some 9 cm apart."""
    assert np.linalg.norm(REFERENCE_SHAPE[36] - REFERENCE_SHAPE[45]) == pytest.approx(94.7, abs=0.1)


def test_the_modes_are_orthonormal() -> None:
    """So that parameters are mm, and fitting them is one product."""
    assert np.allclose(FLAT @ FLAT.T, np.eye(34), atol=1e-6)


@pytest.mark.parametrize("axis", range(3))
def test_no_mode_moves_turns_or_scales_the_face(axis: int) -> None:
    """Those belong to the pose and the camera."""
    unit = np.eye(3)[axis]
    for rigid in (np.tile(unit, (68, 1)), np.cross(unit, REFERENCE_SHAPE), REFERENCE_SHAPE):
        assert np.abs(FLAT @ rigid.ravel()).max() < 1e-4 * np.linalg.norm(rigid)


def test_params_survive_the_round_trip() -> None:
    """A shape made of modes gives back its parameters, in batches too."""
    params = np.random.default_rng(0).normal(size=(2, 5, 34))
    assert shape_from_params(params).shape == (2, 5, 68, 3)
    assert np.allclose(params_from_shape(shape_from_params(params)), params, atol=1e-5)


def test_the_reference_cannot_be_overwritten() -> None:
    """It is shared by every caller."""
    with pytest.raises(ValueError, match="read-only"):
        REFERENCE_SHAPE[0] = 0
