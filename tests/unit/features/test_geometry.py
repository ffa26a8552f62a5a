"""OpenFace's camera, rotations, pose and gaze."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.features.geometry import (
    EYEBALL_RADIUS_MM,
    Array,
    Camera,
    Pose,
    SimilarityFit,
    angle_between_rotations,
    euler_from_rotation,
    eyeball_center,
    gaze_angles,
    gaze_direction,
    lift,
    project,
    project_weak_perspective,
    rotation_from_euler,
    rotation_from_vector,
    solve_pose,
    weak_perspective_depth,
)
from serve_app.features.shape import REFERENCE_SHAPE

CAMERA = Camera.of_image(640, 480)
ANGLE = st.floats(-1.5, 1.5)


def test_the_camera_of_an_image_is_openfaces_guess() -> None:
    """500 px at 640 x 480, the mean of both sides' scales elsewhere, looking through the middle."""
    assert Camera(500.0, (320.0, 240.0)) == CAMERA
    assert Camera.of_image(1280, 480).focal_px == 750.0


@given(ANGLE, ANGLE, ANGLE)
def test_euler_angles_survive_the_round_trip(rx: float, ry: float, rz: float) -> None:
    """Within a quarter turn the three angles are unique."""
    euler = np.array([rx, ry, rz])
    assert np.allclose(euler_from_rotation(rotation_from_euler(euler)), euler, atol=1e-9)


def test_euler_angles_compose_as_rx_ry_rz() -> None:
    """RotationHelpers.h writes R = Rx Ry Rz."""
    rx, ry, rz = (rotation_from_euler(angles) for angles in np.diag([0.3, -0.5, 0.7]))
    assert np.allclose(rotation_from_euler(np.array([0.3, -0.5, 0.7])), rx @ ry @ rz)


@pytest.mark.parametrize(
    ("euler", "nose"),
    [((0.3, 0, 0), (0, 1)), ((0, 0.3, 0), (-1, 0))],
    ids=["rx looks down", "ry turns to image-left"],
)
def test_positive_angles_turn_the_nose_as_in_openface(euler: tuple[float, ...], nose: tuple[int, int]) -> None:
    """The nose points to -Z; Y is down, X to the right."""
    direction = rotation_from_euler(np.array(euler)) @ [0, 0, -1]
    assert np.allclose(np.sign(np.round(direction[:2], 9)), nose)


def test_rotations_come_in_batches() -> None:
    """Leading dimensions pass through."""
    euler = np.random.default_rng(0).uniform(-1, 1, (4, 2, 3))
    rotations = rotation_from_euler(euler)
    assert rotations.shape == (4, 2, 3, 3)
    assert np.allclose(rotations[3, 1], rotation_from_euler(euler[3, 1]))


def test_a_rotation_vector_turns_about_itself() -> None:
    """Its length is the angle; length 0 is no turn."""
    vector = np.array([0.2, -0.4, 0.1])
    rotation = rotation_from_vector(vector)
    assert np.allclose(rotation @ vector, vector)
    assert angle_between_rotations(rotation, np.eye(3)) == pytest.approx(np.linalg.norm(vector))
    assert np.array_equal(rotation_from_vector(np.zeros(3)), np.eye(3))


def test_a_lifted_point_projects_back_onto_itself() -> None:
    """X = Z (x - cx) / fx is the pinhole's inverse."""
    image_points = np.random.default_rng(0).uniform(0, 480, (3, 68, 2))
    lifted = lift(image_points, np.full((3, 68), 500.0), CAMERA)
    assert np.allclose(project(lifted, CAMERA), image_points)


def test_weak_perspective_has_the_depth_of_its_scale() -> None:
    """A face of s px per mm stands at fx / s, and its nose is nearer than that."""
    scale, rotation = np.array([1.25, 2.5]), np.stack([np.eye(3)] * 2)
    shapes = np.stack([REFERENCE_SHAPE] * 2)
    depth = weak_perspective_depth(shapes, scale, rotation, CAMERA)
    assert np.allclose(depth.mean(axis=1), [400, 200])
    assert (depth.argmin(axis=1) == 30).all()
    assert np.allclose(project_weak_perspective(shapes, scale, rotation, np.ones((2, 2))).mean(axis=1), 1)


def test_the_similarity_between_two_shapes_is_found() -> None:
    """Scale, rotation and translation come back, and a point of weight 0 has no say."""
    rotation = rotation_from_euler(np.array([0.2, -0.3, 3.0]))
    target = 1.7 * REFERENCE_SHAPE @ rotation.T + [5, 6, 7]
    weights = np.ones(68)
    target[60], weights[60] = 1e3, 0
    fit = SimilarityFit(REFERENCE_SHAPE, weights)(target)
    assert fit.scale == pytest.approx(1.7)
    assert np.allclose(fit.rotation, rotation)
    assert np.allclose(fit.translation, [5, 6, 7])


def test_a_mirrored_shape_is_not_fitted_by_a_reflection() -> None:
    """A face has no mirror image it can turn into."""
    fit = SimilarityFit(REFERENCE_SHAPE, np.ones(68))(REFERENCE_SHAPE * [1, 1, -1])
    assert np.linalg.det(fit.rotation) == pytest.approx(1)


@given(st.tuples(ANGLE, st.floats(-0.8, 0.8), ANGLE), st.floats(250, 2000))
def test_the_pose_of_a_projected_face_is_found(euler: tuple[float, float, float], depth_mm: float) -> None:
    """From the weak-perspective guess, Gauss-Newton finds the true pose."""
    rotation = rotation_from_euler(np.array(euler))
    translation = np.array([40.0, -30.0, depth_mm])
    image_points = project(REFERENCE_SHAPE @ rotation.T + translation, CAMERA)
    start = Pose(rotation_from_vector(np.array([0.1, 0.1, -0.05])) @ rotation, translation * 1.1)
    pose = solve_pose(REFERENCE_SHAPE, image_points, CAMERA, start)
    assert np.allclose(pose.translation, translation, atol=0.05)
    assert angle_between_rotations(pose.rotation, rotation) < 1e-3


def look(pupil: Array) -> Array:
    return gaze_direction(pupil, np.array([0.0, 0.0, 500.0]))


def test_an_eye_that_shows_its_pupil_in_the_middle_looks_at_the_camera() -> None:
    """The ray meets the sphere on the camera's side."""
    assert np.allclose(look(np.array([0.0, 0.0, 480.0])), [0, 0, -1])


@pytest.mark.parametrize("offset_mm", [4.0, 30.0], ids=["on the eyeball", "beside it"])
def test_the_gaze_follows_the_pupil(offset_mm: float) -> None:
    """To the right with X positive, of length 1; beside the sphere, its rim is what is looked from."""
    gaze = look(np.array([offset_mm, 0.0, 488.0]))
    assert gaze[0] == pytest.approx(min(offset_mm / EYEBALL_RADIUS_MM, 1.0), abs=0.1)
    assert np.linalg.norm(gaze) == pytest.approx(1)


def test_the_eyeball_lies_behind_the_eyes_corners() -> None:
    """Away from the camera, whichever way the head is turned."""
    corners = np.array([[-50.0, 0.0, 500.0], [-20.0, 0.0, 500.0]])
    assert np.allclose(eyeball_center(corners, np.eye(3)), [-35, -2.8, 507])


def test_gaze_angles_grow_to_the_right_and_down() -> None:
    """They are those of the mean of both eyes."""
    gaze = np.array([[0.1, 0.2, -0.9], [0.3, 0.2, -0.9]])
    assert np.allclose(gaze_angles(gaze), [np.arctan2(0.2, 0.9), np.arctan2(0.2, 0.9)])
