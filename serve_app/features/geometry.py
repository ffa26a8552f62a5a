"""OpenFace's camera and rotation conventions, and the pose and gaze solved in them.

Axes everywhere: X right, Y down, Z away from the camera; a face that looks into the camera has R = I.
Lengths are mm, image positions px, angles rad. Arrays are float64 and functions take leading batch
dimensions ("...") where their shapes show them. File names below are those of the OpenFace sources.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

EYEBALL_RADIUS_MM = 12.0  # GazeEstimation.cpp
# From the middle of the eye's corners to the eyeball's centre, in the head's axes. OpenFace has -3.5 for Y;
# -2.8 takes away the vertical bias of 2 to 3 degrees that other lid points bring.
EYEBALL_OFFSET_MM = np.array([0.0, -2.8, 7.0])

_PNP_ITERATIONS = 12  # converges in 3 or 4
_PNP_STEP = np.array([1e-3] * 3 + [0.1] * 3)  # rad, mm: the next step would be a hundredth of it


@dataclass(frozen=True)
class Camera:
    """A pinhole camera with square pixels: focal length and principal point in px."""

    focal_px: float
    center_px: tuple[float, float]

    @classmethod
    def of_image(cls, width_px: int, height_px: int) -> "Camera":
        """The camera OpenFace assumes when it knows only the image's size (SequenceCapture.cpp)."""
        focal_px = (500.0 * width_px / 640.0 + 500.0 * height_px / 480.0) / 2.0
        return cls(focal_px, (width_px / 2.0, height_px / 2.0))


@dataclass(frozen=True)
class Similarity:
    """``scale * R @ x + translation``: R is ``(3, 3)``, the translation ``(3,)`` in the target's unit."""

    scale: float
    rotation: Array
    translation: Array


@dataclass(frozen=True)
class Pose:
    """Where a head is: rotation ``(3, 3)``, and translation of its origin ``(3,)`` in mm, camera axes."""

    rotation: Array
    translation: Array


def rotation_from_euler(euler: Array) -> Array:
    """Turn ``(..., 3)`` Euler angles (rx, ry, rz) into ``(..., 3, 3)`` R = Rx Ry Rz (RotationHelpers.h)."""
    sx, sy, sz = np.moveaxis(np.sin(euler), -1, 0)
    cx, cy, cz = np.moveaxis(np.cos(euler), -1, 0)
    rows = (
        (cy * cz, -cy * sz, sy),
        (cx * sz + cz * sx * sy, cx * cz - sx * sy * sz, -cy * sx),
        (sx * sz - cx * cz * sy, cz * sx + cx * sy * sz, cx * cy),
    )
    rotation: Array = np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
    return rotation


def euler_from_rotation(rotation: Array) -> Array:
    """Turn ``(..., 3, 3)`` rotations into ``(..., 3)`` Euler angles; ry lies within a quarter turn of 0."""
    rx = np.arctan2(-rotation[..., 1, 2], rotation[..., 2, 2])
    ry = np.arcsin(np.clip(rotation[..., 0, 2], -1.0, 1.0))
    rz = np.arctan2(-rotation[..., 0, 1], rotation[..., 0, 0])
    return np.stack([rx, ry, rz], axis=-1)


def rotation_from_vector(vector: Array) -> Array:
    """Turn one ``(3,)`` axis times angle into its ``(3, 3)`` rotation (Rodrigues)."""
    x, y, z = vector.tolist()
    angle = math.hypot(x, y, z)
    if angle < 1e-12:
        return np.eye(3)
    a, b = math.sin(angle) / angle, (1.0 - math.cos(angle)) / angle**2
    rows = (
        (1.0 - b * (y * y + z * z), b * x * y - a * z, b * x * z + a * y),
        (b * x * y + a * z, 1.0 - b * (x * x + z * z), b * y * z - a * x),
        (b * x * z - a * y, b * y * z + a * x, 1.0 - b * (x * x + y * y)),
    )
    return np.array(rows)


def angle_between_rotations(first: Array, second: Array) -> Array:
    """Geodesic angle in rad between ``(..., 3, 3)`` rotations: ``(...)``."""
    trace = np.einsum("...ij,...ij->...", first, second)
    angle: Array = np.arccos(np.clip((trace - 1.0) / 2.0, -1.0, 1.0))
    return angle


def project_weak_perspective(shape: Array, scale: Array, rotation: Array, translation: Array) -> Array:
    """Project ``(..., n, 3)`` mm to ``(..., n, 2)`` px: scale * (R S)_xy + t (PDM.cpp).

    ``scale`` is ``(...)`` px per mm, ``rotation`` ``(..., 3, 3)``, ``translation`` ``(..., 2)`` px.
    """
    turned = shape @ np.swapaxes(rotation[..., :2, :], -1, -2)
    points: Array = np.asarray(scale)[..., None, None] * turned + translation[..., None, :]
    return points


def project(points: Array, camera: Camera) -> Array:
    """Project ``(..., 3)`` mm, camera axes, to ``(..., 2)`` px through a pinhole."""
    image_points: Array = points[..., :2] / points[..., 2:] * camera.focal_px + np.array(camera.center_px)
    return image_points


def lift(image_points: Array, depth: Array, camera: Camera) -> Array:
    """Put ``(..., n, 2)`` px at ``(..., n)`` mm depth: ``(..., n, 3)`` mm, camera axes (LandmarkDetectorModel.cpp)."""
    rays = (image_points - np.array(camera.center_px)) / camera.focal_px
    return np.concatenate([rays * depth[..., None], depth[..., None]], axis=-1)


def weak_perspective_depth(shape: Array, scale: Array, rotation: Array, camera: Camera) -> Array:
    """Depth that OpenFace gives each point of a ``(..., n, 3)`` shape: fx / s + (R S)_z, ``(..., n)`` mm."""
    relief = (shape @ rotation[..., 2, :, None])[..., 0]
    depth: Array = camera.focal_px / np.asarray(scale)[..., None] + relief
    return depth


class SimilarityFit:
    """Finds the similarity that brings ``(n, 3)`` source points nearest to others, in weighted least squares.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns" (1991).
    """

    def __init__(self, source: Array, weights: Array) -> None:
        self._shares = weights / weights.sum()
        self._mean = self._shares @ source
        centred = source - self._mean
        self._weighted = centred * self._shares[:, None]
        self._variance = float((self._weighted * centred).sum())

    def __call__(self, target: Array) -> Similarity:
        """Fit the source to ``(n, 3)`` points, in the order of the source."""
        u, singular, vt = np.linalg.svd(target.T @ self._weighted)  # centred as the weighted source is
        signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
        rotation = (u * signs) @ vt
        scale = float(singular @ signs) / self._variance
        return Similarity(scale, rotation, self._shares @ target - scale * (rotation @ self._mean))


def solve_pose(shape: Array, image_points: Array, camera: Camera, start: Pose) -> Pose:
    """Find the pose whose perspective projection of ``(n, 3)`` mm is nearest to ``(n, 2)`` px (Gauss-Newton)."""
    rotation, translation = start.rotation, start.translation
    observed = (image_points - np.array(camera.center_px)) / camera.focal_px
    for _ in range(_PNP_ITERATIONS):
        turned = shape @ rotation.T
        points = turned + translation
        rays = points[:, :2] / points[:, 2:]
        jacobian = _pose_jacobian(turned, rays, points[:, 2])
        step = np.linalg.solve(jacobian @ jacobian.T, jacobian @ (observed - rays).T.ravel())
        rotation = rotation_from_vector(step[:3]) @ rotation
        translation = translation + step[3:]
        if (abs(step) < _PNP_STEP).all():
            break
    return Pose(rotation, translation)


def eyeball_center(corners: Array, rotation: Array) -> Array:
    """Centre ``(..., 3)`` of an eyeball from the eye's two corners, ``(..., 2, 3)`` mm (GazeEstimation.cpp)."""
    center: Array = corners.mean(axis=-2) + rotation @ EYEBALL_OFFSET_MM
    return center


def gaze_direction(pupil: Array, center: Array) -> Array:
    """Unit gaze ``(..., 3)``: from the eyeball's centre to where the ray through the pupil enters its sphere.

    A ray that misses the sphere counts as touching it where it comes nearest to the centre.
    """
    ray = _unit(pupil)
    along = (ray * center).sum(axis=-1, keepdims=True)
    discriminant = along**2 - (center**2).sum(axis=-1, keepdims=True) + EYEBALL_RADIUS_MM**2
    return _unit(ray * (along - np.sqrt(np.maximum(discriminant, 0.0))) - center)


def gaze_angles(gaze: Array) -> Array:
    """Horizontal and vertical angle ``(2,)`` of the mean of both eyes' ``(2, 3)`` gaze (GazeEstimation.cpp)."""
    x, y, z = gaze.mean(axis=0).tolist()
    return np.array([math.atan2(x, -z), math.atan2(y, -z)])


def _unit(vectors: Array) -> Array:
    return np.asarray(vectors / np.sqrt((vectors**2).sum(axis=-1, keepdims=True)))


def _pose_jacobian(turned: Array, rays: Array, depth: Array) -> Array:
    """Derivative ``(6, 2 n)`` of n rays, all x then all y, with respect to a small rotation and a translation.

    ``turned`` is R S, ``(n, 3)``; ``rays`` are (X, Y) / Z, ``(n, 2)``, of R S + T, and ``depth`` is its Z,
    ``(n,)``. A rotation w moves a point by w x (R S).
    """
    px, py, pz = turned.T
    x, y = rays.T
    jacobian = np.zeros((6, 2, len(depth)))
    across, down = jacobian[:, 0], jacobian[:, 1]
    across[0], across[1], across[2], across[3], across[5] = -x * py, x * px + pz, -py, 1.0, -x
    down[0], down[1], down[2], down[4], down[5] = -y * py - pz, y * px, px, 1.0, -y
    return (jacobian / depth).reshape(6, -1)
