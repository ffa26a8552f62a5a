"""OpenFace's model of a face, fitted to landmarks whose truth is known."""

import numpy as np
import pytest

from serve_app.errors import ExtractionFailed
from serve_app.extractors.facemesh import fit
from serve_app.extractors.facemesh.fit import FaceFit, fit_face
from serve_app.features.geometry import (
    Array,
    Camera,
    Pose,
    project,
    project_weak_perspective,
    rotation_from_euler,
)
from serve_app.features.schema import FEATURE_COLUMNS, FEATURE_SLICES
from serve_app.features.shape import REFERENCE_SHAPE, shape_from_params
from serve_app.features.table import write_face, write_features

CAMERA = Camera.of_image(640, 480)
ROTATION = rotation_from_euler(np.array([0.1, -0.2, 0.3]))
SCALE = 1.25
RING = np.stack([np.cos(np.arange(28) * np.pi / 4), np.sin(np.arange(28) * np.pi / 4)], axis=1)


def landmarks_of(shape: Array) -> Array:
    """Weak-perspective points in px, with their depth in the same unit."""
    return SCALE * shape @ ROTATION.T + [330.0, 250.0, 0.0]


def eyes_of(landmarks: Array, iris_px: float = 12.0) -> Array:
    """Two rings of 28 points in the middles of the eyes."""
    middles = [landmarks[[a, b], :2].mean(axis=0) for a, b in fit.EYE_CORNERS]
    return np.concatenate([middle + RING * iris_px / 2 for middle in middles])


def fitted(shape: Array = REFERENCE_SHAPE) -> FaceFit:
    landmarks = landmarks_of(shape)
    return fit_face(landmarks, eyes_of(landmarks), CAMERA)


def test_every_feature_is_a_number() -> None:
    """One for each of the 674 columns."""
    features = fitted().features()
    assert features.shape == (len(FEATURE_COLUMNS),)
    assert np.isfinite(features).all()


def test_a_row_and_its_columns_are_written_alike() -> None:
    """The fast way to write a face says what the way by names says."""
    features = fitted().features()
    columns = dict(zip(FEATURE_COLUMNS, features.tolist(), strict=True))
    by_name = write_face({"frame": 1, "confidence": 0.9, "success": 1, **columns})
    assert write_features(features, confidence=0.9) == by_name


def test_the_weak_perspective_camera_is_found() -> None:
    """Scale in px per mm, Euler angles, and where the origin falls."""
    camera = fitted().features()[FEATURE_SLICES["shape_camera"]]
    assert np.allclose(camera, [SCALE, 0.1, -0.2, 0.3, 330, 250], atol=1e-6)


def test_expression_goes_into_the_params() -> None:
    """A deformation of the face changes neither its camera nor the reprojection."""
    params = np.zeros(34)
    params[20:] = 2.0
    found = fitted(shape_from_params(params))
    assert np.allclose(found.params, params, atol=1.5)
    model = project_weak_perspective(
        shape_from_params(found.params),
        np.array(found.shape_camera.scale),
        found.shape_camera.rotation,
        found.shape_camera.translation[:2],
    )
    assert np.abs(model - found.landmarks).max() < 1.0


def test_points_in_space_stand_at_the_scales_distance() -> None:
    """At fx / s on average, and they project onto the landmarks."""
    found = fitted()
    assert found.landmarks_3d[:, 2].mean() == pytest.approx(CAMERA.focal_px / SCALE)
    assert np.allclose(project(found.landmarks_3d, CAMERA), found.landmarks)


def test_a_larger_iris_is_a_nearer_eye() -> None:
    """The iris has one size in everybody, whatever the size of the face."""
    landmarks = landmarks_of(REFERENCE_SHAPE)
    near, far = (fit_face(landmarks, eyes_of(landmarks, px), CAMERA).eye_landmarks_3d[:, 2] for px in (14.0, 10.0))
    assert near.mean() / far.mean() == pytest.approx(10 / 14, rel=0.01)


def test_a_face_behind_the_camera_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gauss-Newton may end there on points that are no face."""
    monkeypatch.setattr(fit, "solve_pose", lambda *_: Pose(np.eye(3), np.array([0.0, 0.0, np.nan])))
    with pytest.raises(ExtractionFailed, match="no head in front of the camera"):
        fitted()
