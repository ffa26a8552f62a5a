"""An extractor's arithmetic for many faces at once: fitted faces to 674 features.

The extractors themselves solve one face at a time; this is the same computation with a leading batch
dimension, so that simulated rows hold what real rows hold.
"""

import numpy as np
import numpy.typing as npt

from serve_app.features.geometry import EYEBALL_RADIUS_MM, euler_from_rotation
from serve_app.features.schema import COLUMN_DECIMALS, FEATURE_COUNT, FEATURE_SLICES, METADATA_COLUMNS
from serve_app.models.simulation.anatomy import EYES
from serve_app.models.simulation.fits import Fit, turn_by

Array = npt.NDArray[np.float64]

_DECIMALS = COLUMN_DECIMALS[len(METADATA_COLUMNS) :]
_POSE_ITERATIONS = 6  # Gauss-Newton converges in 3 to 5

# The constants of extractors/facemesh/fit.py, which models may not import; a test holds the two together. OpenFace's
# eyes float at depths of their own, which its model does not read.
_IRIS_DIAMETER_MM = 11.9
_EYE_DEPTH_FACTOR = 0.83
_MIN_FACING = 0.3


def measure(fit: Fit, eye_landmarks: Array, size: Array, eyeball_offset: Array) -> npt.NDArray[np.float32]:
    """Compute the features ``(n, 674) float32`` of fitted faces, rounded as in a CSV.

    ``eye_landmarks`` are ``(n, 56, 2)`` px in pictures of ``size`` ``(n, 2)`` px; ``eyeball_offset`` is ``(3,)`` mm.
    """
    focal, center = size @ (500.0 / 640.0, 500.0 / 480.0) / 2.0, size / 2.0
    depth = (focal / fit.scale)[:, None] + np.einsum("npc,nc->np", fit.shape, fit.rotation[:, 2])
    points = _lift(fit.landmarks, depth, focal, center)
    rotation, translation = _solve_pose(fit, focal, center)
    eyes = _lift_eyes(eye_landmarks, fit, focal, center)
    gaze = _gaze(eyes, points, rotation, eyeball_offset)
    mean_gaze = gaze.mean(axis=1)
    groups = {
        "gaze": gaze,
        "gaze_angle": np.arctan2(mean_gaze[:, :2], -mean_gaze[:, 2:]),
        "eye_landmarks_2d": np.swapaxes(eye_landmarks, 1, 2),
        "eye_landmarks_3d": np.swapaxes(eyes, 1, 2),
        "pose_translation": translation,
        "pose_rotation": euler_from_rotation(rotation),
        "landmarks_2d": np.swapaxes(fit.landmarks, 1, 2),
        "landmarks_3d": np.swapaxes(points, 1, 2),
        "shape_camera": np.column_stack([fit.scale, euler_from_rotation(fit.rotation), fit.translation[:, :2]]),
        "shape": fit.params,
    }
    return _round(groups, len(size))


def _lift(flat: Array, depth: Array, focal: Array, center: Array) -> Array:
    """Put ``(n, p, 2)`` px at ``(n, p)`` mm depth: ``(n, p, 3)`` mm in camera axes."""
    rays = (flat - center[:, None]) / focal[:, None, None]
    return np.concatenate([rays * depth[..., None], depth[..., None]], axis=-1)


def _lift_eyes(eyes: Array, fit: Fit, focal: Array, center: Array) -> Array:
    """Put each eye's 28 points on a plane that turns with the head, as far away as its iris is small."""
    eyes = eyes.reshape(-1, 2, 28, 2)
    across = np.linalg.norm(eyes[:, :, 0:4] - eyes[:, :, 4:8], axis=-1).max(axis=2)
    px_per_mm = across / (_IRIS_DIAMETER_MM * _EYE_DEPTH_FACTOR)
    offsets = (eyes - eyes[:, :, :8].mean(axis=2, keepdims=True)) / px_per_mm[:, :, None, None]
    normal = fit.rotation[:, :, 2]
    relief = -np.einsum("nepc,nc->nep", offsets, normal[:, :2] / np.maximum(normal[:, 2:], _MIN_FACING))
    depth = (focal[:, None] / px_per_mm)[:, :, None] + relief
    return _lift(eyes.reshape(-1, 56, 2), depth.reshape(-1, 56), focal, center)


def _solve_pose(fit: Fit, focal: Array, center: Array) -> tuple[Array, Array]:
    """Perspective pose of each shape, by Gauss-Newton: rotations ``(n, 3, 3)``, translations ``(n, 3)`` mm."""
    depth = focal / fit.scale
    rotation = fit.rotation
    translation = np.column_stack([(fit.translation[:, :2] - center) / fit.scale[:, None], depth])
    for _ in range(_POSE_ITERATIONS):
        turned = fit.shape @ np.swapaxes(rotation, 1, 2)
        points = turned + translation[:, None]
        per_mm = focal[:, None] / points[..., 2]
        residual = fit.landmarks - center[:, None] - points[..., :2] * per_mm[..., None]
        jacobian = _pose_jacobian(turned, points, per_mm)
        normal = np.swapaxes(jacobian, 1, 2) @ jacobian
        gradient = np.einsum("nki,nk->ni", jacobian, residual.reshape(len(depth), -1))
        step = np.linalg.solve(normal, gradient[..., None])[..., 0]
        rotation = turn_by(step[:, :3]) @ rotation
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


def _gaze(eyes: Array, points: Array, rotation: Array, eyeball_offset: Array) -> Array:
    """Unit gaze ``(n, 2, 3)``: from each eyeball's centre to where the ray through the iris enters its sphere."""
    iris = eyes.reshape(-1, 2, 28, 3)[:, :, :8].mean(axis=2)
    center = points[:, EYES[:, [0, 3]]].mean(axis=2) + (rotation @ eyeball_offset)[:, None]
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
