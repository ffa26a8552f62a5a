"""The face-mesh extractor's arithmetic for many faces at once: points in the picture to 674 features.

The extractor itself solves one face at a time; this is the same computation with a leading batch
dimension, so that simulated rows hold what real rows hold.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serve_app.features.geometry import (
    EYEBALL_OFFSET_MM,
    EYEBALL_RADIUS_MM,
    euler_from_rotation,
)
from serve_app.features.schema import COLUMN_DECIMALS, FEATURE_COUNT, FEATURE_SLICES, METADATA_COLUMNS
from serve_app.features.shape import REFERENCE_SHAPE, params_from_shape, shape_from_params
from serve_app.models.simulation.anatomy import BROWS, EYES, JAW
from serve_app.models.simulation.scene import Detections

Array = npt.NDArray[np.float64]

_DECIMALS = COLUMN_DECIMALS[len(METADATA_COLUMNS) :]
_POSE_ITERATIONS = 6  # Gauss-Newton converges in 3 to 5

# The constants of extractors/facemesh/fit.py, which models may not import; a test holds the two together.
_IRIS_DIAMETER_MM = 11.9
_EYE_DEPTH_FACTOR = 0.83
_MIN_FACING = 0.3


def _fit_weights() -> Array:
    weights = np.ones(len(REFERENCE_SHAPE))
    weights[JAW], weights[BROWS] = 0.1, 0.3
    weights[48:60], weights[60:] = 0.2, 0.0
    return np.asarray(weights / weights.sum())


_FIT_WEIGHTS = _fit_weights()


@dataclass(frozen=True)
class _Fit:
    """The weak-perspective camera and the shape in mm, ``(n, 68, 3)``, that explain each face's landmarks."""

    scale: Array
    rotation: Array
    translation: Array
    params: Array
    shape: Array


def measure(faces: Detections, size: Array) -> npt.NDArray[np.float32]:
    """Compute the features ``(n, 674) float32`` of faces in pictures of ``size`` ``(n, 2)`` px, rounded as in a CSV."""
    fit = _fit_shape(faces.landmarks)
    focal, center = size @ (500.0 / 640.0, 500.0 / 480.0) / 2.0, size / 2.0
    flat = faces.landmarks[..., :2]
    depth = (focal / fit.scale)[:, None] + np.einsum("npc,nc->np", fit.shape, fit.rotation[:, 2])
    points = _lift(flat, depth, focal, center)
    rotation, translation = _solve_pose(fit, flat, focal, center)
    eyes = _lift_eyes(faces.eyes, fit, focal, center)
    gaze = _gaze(eyes, points, rotation)
    mean_gaze = gaze.mean(axis=1)
    groups = {
        "gaze": gaze,
        "gaze_angle": np.arctan2(mean_gaze[:, :2], -mean_gaze[:, 2:]),
        "eye_landmarks_2d": np.swapaxes(faces.eyes, 1, 2),
        "eye_landmarks_3d": np.swapaxes(eyes, 1, 2),
        "pose_translation": translation,
        "pose_rotation": euler_from_rotation(rotation),
        "landmarks_2d": np.swapaxes(flat, 1, 2),
        "landmarks_3d": np.swapaxes(points, 1, 2),
        "shape_camera": np.column_stack([fit.scale, euler_from_rotation(fit.rotation), fit.translation[:, :2]]),
        "shape": fit.params,
    }
    return _round(groups, len(flat))


def _fit_shape(landmarks: Array) -> _Fit:
    """Bring the reference shape onto landmarks by a weighted similarity (Umeyama 1991), then let it deform."""
    reference_mean = _FIT_WEIGHTS @ REFERENCE_SHAPE
    centred = REFERENCE_SHAPE - reference_mean
    mean = np.einsum("p,npc->nc", _FIT_WEIGHTS, landmarks)
    covariance = np.einsum("npc,p,pd->ncd", landmarks - mean[:, None], _FIT_WEIGHTS, centred)
    u, singular, vt = np.linalg.svd(covariance)
    signs = np.ones_like(singular)
    signs[:, 2] = np.sign(np.linalg.det(u) * np.linalg.det(vt))
    rotation = (u * signs[:, None]) @ vt
    scale = (singular * signs).sum(axis=1) / (_FIT_WEIGHTS @ (centred**2).sum(axis=1))
    translation = mean - scale[:, None] * (rotation @ reference_mean)
    params = params_from_shape((landmarks - translation[:, None]) @ rotation / scale[:, None, None])
    return _Fit(scale, rotation, translation, params, shape_from_params(params))


def _lift(flat: Array, depth: Array, focal: Array, center: Array) -> Array:
    """Put ``(n, p, 2)`` px at ``(n, p)`` mm depth: ``(n, p, 3)`` mm in camera axes."""
    rays = (flat - center[:, None]) / focal[:, None, None]
    return np.concatenate([rays * depth[..., None], depth[..., None]], axis=-1)


def _lift_eyes(eyes: Array, fit: _Fit, focal: Array, center: Array) -> Array:
    """Put each eye's 28 points on a plane that turns with the head, as far away as its iris is small."""
    eyes = eyes.reshape(-1, 2, 28, 2)
    across = np.linalg.norm(eyes[:, :, 0:4] - eyes[:, :, 4:8], axis=-1).max(axis=2)
    px_per_mm = across / (_IRIS_DIAMETER_MM * _EYE_DEPTH_FACTOR)
    offsets = (eyes - eyes[:, :, :8].mean(axis=2, keepdims=True)) / px_per_mm[:, :, None, None]
    normal = fit.rotation[:, :, 2]
    relief = -np.einsum("nepc,nc->nep", offsets, normal[:, :2] / np.maximum(normal[:, 2:], _MIN_FACING))
    depth = (focal[:, None] / px_per_mm)[:, :, None] + relief
    return _lift(eyes.reshape(-1, 56, 2), depth.reshape(-1, 56), focal, center)


def _solve_pose(fit: _Fit, flat: Array, focal: Array, center: Array) -> tuple[Array, Array]:
    """Perspective pose of each shape, by Gauss-Newton: rotations ``(n, 3, 3)``, translations ``(n, 3)`` mm."""
    depth = focal / fit.scale
    rotation = fit.rotation
    translation = np.column_stack([(fit.translation[:, :2] - center) / fit.scale[:, None], depth])
    for _ in range(_POSE_ITERATIONS):
        turned = fit.shape @ np.swapaxes(rotation, 1, 2)
        points = turned + translation[:, None]
        per_mm = focal[:, None] / points[..., 2]
        residual = flat - center[:, None] - points[..., :2] * per_mm[..., None]
        jacobian = _pose_jacobian(turned, points, per_mm)
        normal = np.swapaxes(jacobian, 1, 2) @ jacobian
        gradient = np.einsum("nki,nk->ni", jacobian, residual.reshape(len(flat), -1))
        step = np.linalg.solve(normal, gradient[..., None])[..., 0]
        rotation = _rotations(step[:, :3]) @ rotation
        translation = translation + step[:, 3:]
    return rotation, translation


def _pose_jacobian(turned: Array, points: Array, per_mm: Array) -> Array:
    """Derivatives ``(n, 2 p, 6)`` of the projections with respect to a small rotation and a translation."""
    n, n_points, _ = points.shape
    jacobian = np.zeros((n, n_points, 2, 6))
    slope = -points[..., :2] * (per_mm / points[..., 2])[..., None]
    jacobian[..., 0, 3] = jacobian[..., 1, 4] = per_mm
    jacobian[..., 5] = slope
    x, y, z = np.moveaxis(turned, -1, 0)
    jacobian[..., 0, 1], jacobian[..., 0, 2] = per_mm * z, -per_mm * y
    jacobian[..., 1, 0], jacobian[..., 1, 2] = -per_mm * z, per_mm * x
    jacobian[..., 0] += slope * y[..., None]  # a rotation w moves a point by w x p
    jacobian[..., 1] -= slope * x[..., None]
    return jacobian.reshape(n, 2 * n_points, 6)


def _rotations(vectors: Array) -> Array:
    """Turn axes times angles ``(n, 3)`` into rotations ``(n, 3, 3)`` (Rodrigues)."""
    angle = np.linalg.norm(vectors, axis=1)[:, None, None]
    cross = np.cross(np.eye(3), vectors[:, None, :])
    safe = np.maximum(angle, 1e-12)
    return np.asarray(np.eye(3) + np.sin(angle) / safe * cross + (1.0 - np.cos(angle)) / safe**2 * (cross @ cross))


def _gaze(eyes: Array, points: Array, rotation: Array) -> Array:
    """Unit gaze ``(n, 2, 3)``: from each eyeball's centre to where the ray through the iris enters its sphere."""
    iris = eyes.reshape(-1, 2, 28, 3)[:, :, :8].mean(axis=2)
    center = points[:, EYES[:, [0, 3]]].mean(axis=2) + (rotation @ EYEBALL_OFFSET_MM)[:, None]
    ray = iris / np.linalg.norm(iris, axis=-1, keepdims=True)
    along = (ray * center).sum(axis=-1)
    discriminant = along**2 - (center**2).sum(axis=-1) + EYEBALL_RADIUS_MM**2
    hit = ray * (along - np.sqrt(np.maximum(discriminant, 0.0)))[..., None] - center
    return np.asarray(hit / np.linalg.norm(hit, axis=-1, keepdims=True))


def _round(groups: dict[str, Array], n: int) -> npt.NDArray[np.float32]:
    """Lay groups out in column order and round each column to the decimals a CSV has."""
    features = np.empty((n, FEATURE_COUNT))
    for name, values in groups.items():
        part = FEATURE_SLICES[name]
        features[:, part] = np.round(values.reshape(n, -1), _DECIMALS[part.start])
    return features.astype(np.float32)
