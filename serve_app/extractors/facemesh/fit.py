"""The 68 landmarks and both eyes, turned into OpenFace's features: shape, camera, pose, 3D points, gaze."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serve_app.errors import ExtractionFailed
from serve_app.features.geometry import (
    Camera,
    Pose,
    Similarity,
    SimilarityFit,
    euler_from_rotation,
    eyeball_center,
    gaze_angles,
    gaze_direction,
    lift,
    solve_pose,
    weak_perspective_depth,
)
from serve_app.features.schema import FEATURE_GROUPS, N_EYE_LANDMARKS
from serve_app.features.shape import REFERENCE_SHAPE, params_from_shape, shape_from_params

Array = npt.NDArray[np.float64]

EYE_CORNERS = np.array([(36, 39), (42, 45)])
IRIS_DIAMETER_MM = 11.9  # the same in nearly all adults, so it tells how far the eye is
# OpenFace's eye model has a scale of its own, which puts the eyes nearer than the face by about this much.
_EYE_DEPTH_FACTOR = 0.83
_MIN_FACING = 0.3  # of the face's normal towards the camera; beyond it, the plane of the eyes is seen edge-on

_RIGID_FEATURES, _BROWS, _OUTER_LIP, _JAW = 1.0, 0.3, 0.2, 0.1  # how little each part moves with expression
_WEIGHTS = np.concatenate(
    [
        np.full(17, _JAW),
        np.full(10, _BROWS),
        np.full(21, _RIGID_FEATURES),
        np.full(12, _OUTER_LIP),
        np.zeros(8),  # inner lip
    ]
)
_fit_reference = SimilarityFit(REFERENCE_SHAPE, _WEIGHTS)


@dataclass(frozen=True)
class FaceFit:
    """The features of one face: ``pose`` and points in mm, camera axes; image points in px; see ``features``."""

    landmarks: Array
    landmarks_3d: Array
    eye_landmarks: Array
    eye_landmarks_3d: Array
    gaze: Array
    pose: Pose
    shape_camera: Similarity
    params: Array

    def features(self) -> Array:
        """All 674 features, ``(674,)`` in the order of ``FEATURE_COLUMNS``."""
        pose_euler, camera_euler = euler_from_rotation(np.array([self.pose.rotation, self.shape_camera.rotation]))
        camera = self.shape_camera
        groups: dict[str, Array] = {
            "gaze": self.gaze,
            "gaze_angle": gaze_angles(self.gaze),
            "eye_landmarks_2d": self.eye_landmarks.T,
            "eye_landmarks_3d": self.eye_landmarks_3d.T,
            "pose_translation": self.pose.translation,
            "pose_rotation": pose_euler,
            "landmarks_2d": self.landmarks.T,
            "landmarks_3d": self.landmarks_3d.T,
            "shape_camera": np.array([camera.scale, *camera_euler, *camera.translation[:2]]),
            "shape": self.params,
        }
        return np.concatenate([groups[key].ravel() for key in FEATURE_GROUPS])


def fit_face(landmarks: Array, eye_landmarks: Array, camera: Camera) -> FaceFit:
    """Fit OpenFace's model of a face.

    ``landmarks`` is ``(68, 3)`` px, depth away from the camera around any origin; ``eye_landmarks`` is
    ``(56, 2)`` px. The network's depth is fitted too: 2D alone, as in OpenFace, costs 0.5 degrees of pose.

    Raises:
        ExtractionFailed: the points are no face in front of the camera.
    """
    fit = _fit_reference(landmarks)
    params = params_from_shape((landmarks - fit.translation) @ fit.rotation / fit.scale)
    shape = shape_from_params(params)
    image_points = landmarks[:, :2]
    depth = weak_perspective_depth(shape, np.array(fit.scale), fit.rotation, camera)
    landmarks_3d = lift(image_points, depth, camera)
    pose = solve_pose(shape, image_points, camera, Pose(fit.rotation, landmarks_3d.mean(axis=0)))
    if not pose.translation[2] > 0:  # nor is NaN
        raise ExtractionFailed("the points found in this frame fit no head in front of the camera")
    eye_landmarks_3d = lift(eye_landmarks, _eye_depth(eye_landmarks, fit.rotation, camera), camera)
    gaze = _gaze(landmarks_3d, eye_landmarks_3d, pose.rotation)
    return FaceFit(
        landmarks=image_points,
        landmarks_3d=landmarks_3d,
        eye_landmarks=eye_landmarks,
        eye_landmarks_3d=eye_landmarks_3d,
        gaze=gaze,
        pose=pose,
        shape_camera=fit,
        params=params,
    )


def _eye_depth(eye_landmarks: Array, rotation: Array, camera: Camera) -> Array:
    """Depth ``(56,)`` mm of the eyes' landmarks: each eye a plane, turned as the head, at its iris's distance."""
    eyes = eye_landmarks.reshape(2, N_EYE_LANDMARKS // 2, 2)
    px_per_mm = _iris_diameter(eyes) / (IRIS_DIAMETER_MM * _EYE_DEPTH_FACTOR)
    offsets_mm = (eyes - eyes[:, :8].mean(axis=1, keepdims=True)) / px_per_mm[:, None, None]
    normal = rotation[:, 2]
    facing = max(normal[2], _MIN_FACING)
    relief = -offsets_mm @ normal[:2] / facing
    return np.asarray((camera.focal_px / px_per_mm[:, None] + relief).ravel())


def _iris_diameter(eyes: Array) -> Array:
    """Longest of the four diameters of each ``(2, 28, 2)`` eye's iris ring, px: a turned circle keeps one."""
    across = eyes[:, 0:4] - eyes[:, 4:8]
    return np.asarray(np.hypot(across[..., 0], across[..., 1]).max(axis=1))


def _gaze(landmarks_3d: Array, eye_landmarks_3d: Array, rotation: Array) -> Array:
    """Unit gaze ``(2, 3)`` of the image-left and the image-right eye."""
    irises = eye_landmarks_3d.reshape(2, -1, 3)[:, :8].mean(axis=1)
    return gaze_direction(irises, eyeball_center(landmarks_3d[EYE_CORNERS], rotation))
