"""The tables from network points to OpenFace's landmarks."""

import numpy as np
import pytest

from serve_app.extractors.facemesh.landmarks import (
    LANDMARK_TWINS,
    landmarks_of_mesh,
    points_of_eye,
)

IRIS = np.array([[-2.0, 0.0], [0.0, -2.0], [2.0, 0.0], [0.0, 2.0]])
AN_EYE = np.concatenate([np.zeros((16, 2)), IRIS])


def test_every_landmark_is_a_weighted_mean() -> None:
    """A mesh whose points all agree has landmarks at the same place."""
    assert np.allclose(landmarks_of_mesh(np.ones((468, 3))), 1)


def test_twins_pair_all_landmarks_off_the_middle() -> None:
    """29 pairs and 10 points on the midline make 68."""
    paired = set(LANDMARK_TWINS) | set(LANDMARK_TWINS.values())
    assert len(LANDMARK_TWINS) == 29
    assert set(range(68)) - paired == {8, 27, 28, 29, 30, 33, 51, 57, 62, 66}


@pytest.mark.parametrize("image_right", [False, True])
def test_a_mirrored_contour_gives_mirrored_landmarks(image_right: bool) -> None:
    """Both eyes are numbered from image-left to image-right along the upper lid."""
    lower = np.stack([np.linspace(-5, 5, 9), np.linspace(0, 1, 9) * 0 + 1], axis=1)
    upper = np.stack([np.linspace(-4, 4, 7), np.full(7, -1.0)], axis=1)
    contour = np.concatenate([lower, upper]) * ([-1, 1] if image_right else [1, 1])
    six, eye = np.split(points_of_eye(np.concatenate([contour, IRIS]), image_right=image_right), [6])
    assert (np.diff(six[:4, 0]) > 0).all()
    assert (six[1:3, 1] < six[4:, 1]).all()
    lids = eye[8:20]
    assert lids[:, 0].argmin() == 0
    assert lids[:, 0].argmax() == 6


def test_the_iris_ring_runs_clockwise_from_image_left() -> None:
    """Left, above left, top, ..., below left; Y is down."""
    ring = points_of_eye(AN_EYE, image_right=False)[6:14]
    diagonal = 2 / np.sqrt(2)
    assert np.allclose(ring[:3], [[-2, 0], [-diagonal, -diagonal], [0, -2]])
    assert np.allclose(ring[4], [2, 0])


def test_the_pupil_ring_runs_back_from_below_left() -> None:
    """Below left, bottom, ..., left; a fixed share of the iris."""
    pupil = points_of_eye(AN_EYE, image_right=False)[26:]
    diagonal = 0.88 / np.sqrt(2)
    assert np.allclose(pupil[:2], [[-diagonal, diagonal], [0, 0.88]])
    assert np.allclose(pupil[7], [-0.88, 0])
