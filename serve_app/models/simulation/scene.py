"""Scenes: cameras and poses, and what a landmark network reports of a head seen through them."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from serve_app.features.geometry import EYEBALL_RADIUS_MM, rotation_from_euler
from serve_app.features.shape import REFERENCE_SHAPE
from serve_app.models.simulation.anatomy import EYES, JAW, MOUTH, OUTER_CORNERS, Heads, smooth_field

Array = npt.NDArray[np.float64]

PICTURE_SIZES = ((640, 480), (480, 640), (1280, 720), (720, 1280), (1920, 1080), (512, 512), (854, 480), (320, 240))
_FACE_HEIGHT_MM = 150.0
_GUESSED_FOCAL = np.array([500.0 / 640.0, 500.0 / 480.0]) / 2.0  # of width and height, as OpenFace guesses it

_DEPTH_NOISE_MM = 2.0
_DEPTH_TILT = np.array([0.04, 0.1])  # mm/mm of depth along x and y: a misjudged turn, and more so a misjudged nod

_PUPIL_PER_IRIS = 0.44  # the extractor derives the pupil; no network sees it
_IRIS_TURNS = np.deg2rad(np.arange(180, 540, 45))  # clockwise on the screen from image-left
_PUPIL_TURNS = np.deg2rad(np.arange(135, -225, -45))  # counter-clockwise from below left


@dataclass(frozen=True)
class Views:
    """``n`` cameras on ``n`` heads.

    ``rotation`` ``(n, 3, 3)``, ``translation`` ``(n, 3)`` mm; ``focal`` ``(n,)`` and ``center`` ``(n, 2)`` px are the
    true camera's, ``size`` ``(n, 2)`` px is the picture's, from which an extractor has to guess them.
    """

    rotation: Array
    translation: Array
    focal: Array
    center: Array
    size: Array

    @property
    def scale(self) -> Array:
        """Size of the faces, ``(n,)`` px/mm."""
        return self.focal / self.translation[:, 2]

    def turned(self, rotation: Array) -> "Views":
        """See the heads under other rotations ``(n, 3, 3)``."""
        return replace(self, rotation=rotation)


@dataclass(frozen=True)
class Faces:
    """``n`` faces in the picture, in px: ``landmarks`` ``(n, 68, 3)`` with depth, ``scale`` ``(n,)`` px/mm.

    ``irises`` ``(n, 2, 4, 2)`` are each iris's image-left, top, image-right and bottom point.
    """

    landmarks: Array
    irises: Array
    scale: Array


@dataclass(frozen=True)
class LandmarkNoise:
    """What a landmark network adds to the truth, as standard deviations in mm on the face.

    ``spread`` is of the logarithm of how much worse one picture is than another. The network that sees the eyes
    finds the outer corners ``outer_corner_mm`` nearer to the eye than the one that sees the face, and irises
    ``iris_zoom`` times their size; four points of each stray by ``iris_shape`` times as much as it does as a whole.
    """

    spread: float
    smooth_mm: float
    point_mm: float
    jaw_mm: float
    mouth_mm: float
    lid_mm: float
    iris_mm: float
    iris_shape: float
    iris_zoom: float
    outer_corner_mm: float


@dataclass(frozen=True)
class Detections:
    """What a landmark network reports of ``n`` faces, in px: ``landmarks`` ``(n, 68, 3)``, ``eyes`` ``(n, 56, 2)``."""

    landmarks: Array
    eyes: Array


def sample_views(rng: np.random.Generator, n: int) -> Views:
    """Sample poses, picture sizes, face sizes and lenses; a third of the pictures are crops around the face."""
    size = np.array(PICTURE_SIZES, dtype=np.float64)[rng.integers(len(PICTURE_SIZES), size=n)]
    share = np.exp(rng.uniform(np.log(0.15), np.log(0.75), n))  # of the picture's shorter side
    scale = share * size.min(axis=1) / _FACE_HEIGHT_MM
    depth = np.exp(rng.uniform(np.log(400.0), np.log(3000.0), n))  # from a selfie to across a room
    depth = np.maximum(depth, 0.7 * (size @ _GUESSED_FOCAL) / scale)  # no lens is wider
    focal = depth * scale
    place = (0.5 + rng.uniform(-0.5, 0.5, (n, 2)) * (1.0 - share)[:, None] * 0.8) * size
    is_crop = rng.random((n, 1)) < 1 / 3
    center = np.where(is_crop, place + rng.normal(0.0, 0.15, (n, 2)) * focal[:, None], size / 2.0)
    across = (place - center) / scale[:, None]
    euler = np.clip(rng.normal(0.0, (0.17, 0.3, 0.13), (n, 3)), -0.8, 0.8)
    # poses are relative to the line of sight: a face at the picture's edge that looks into the camera is turned
    sight = np.stack([-across[:, 1] / depth, across[:, 0] / depth, np.zeros(n)], axis=1)
    rotation = rotation_from_euler(sight) @ rotation_from_euler(euler)
    return Views(rotation, np.column_stack([across, depth]), focal, center, size)


def render(heads: Heads, views: Views) -> Faces:
    """Project heads through their true cameras."""
    landmarks = heads.landmarks
    relief = views.scale[:, None] * np.einsum("npc,nc->np", landmarks, views.rotation[:, 2])
    irises = _project(_irises(heads).reshape(len(heads), 8, 3), views)
    return Faces(np.dstack([_project(landmarks, views), relief]), irises.reshape(-1, 2, 4, 2), views.scale)


def detect(rng: np.random.Generator, faces: Faces, noise: LandmarkNoise) -> Detections:
    """Report faces with a landmark network's errors, which are worse on some pictures than on others."""
    n = len(faces.landmarks)
    px = faces.scale[:, None, None] * np.exp(rng.normal(0.0, noise.spread, (n, 1, 1)))  # px of error per mm of it
    landmarks = faces.landmarks + px * _landmark_errors(rng, n, noise)
    landmarks[:, OUTER_CORNERS, 0] += faces.scale[:, None] * noise.outer_corner_mm * np.array([1.0, -1.0])
    landmarks[..., 2] *= rng.normal(1.0, 0.07, (n, 1))  # one picture says little about absolute relief
    eyes = []
    for eye in (0, 1):
        lids = _LIDS_OF_LANDMARKS[eye] @ landmarks[:, EYES[eye], :2] + px * noise.lid_mm * rng.normal(size=(n, 12, 2))
        shift, shape = rng.normal(size=(n, 1, 2)), noise.iris_shape * rng.normal(size=(n, 4, 2))
        iris = faces.irises[:, eye] + px * noise.iris_mm * (shift + shape)
        eyes += [
            _ring(iris, _IRIS_TURNS, noise.iris_zoom),
            lids,
            _ring(iris, _PUPIL_TURNS, noise.iris_zoom * _PUPIL_PER_IRIS),
        ]
    return Detections(landmarks, np.concatenate(eyes, axis=1))


def _landmark_errors(rng: np.random.Generator, n: int, noise: LandmarkNoise) -> Array:
    """Errors ``(n, 68, 3)`` mm: mostly smooth over the face, worst on the jaw and in depth."""
    errors = smooth_field(rng, n, length_mm=30.0, size_mm=noise.smooth_mm)
    errors += rng.normal(0.0, noise.point_mm, errors.shape)
    errors[:, JAW] += smooth_field(rng, n, length_mm=20.0, size_mm=noise.jaw_mm)[:, JAW]
    errors[:, MOUTH] += smooth_field(rng, n, length_mm=15.0, size_mm=noise.mouth_mm)[:, MOUTH]
    errors[..., 2] += smooth_field(rng, n, length_mm=50.0, size_mm=_DEPTH_NOISE_MM)[..., 2]
    errors[..., 2] += (rng.normal(0.0, _DEPTH_TILT, (n, 1, 2)) * REFERENCE_SHAPE[:, :2]).sum(axis=-1)
    return errors


def _project(points: Array, views: Views) -> Array:
    """Perspective projection of ``(n, p, 3)`` mm in the head's axes: ``(n, p, 2)`` px."""
    placed = points @ np.swapaxes(views.rotation, 1, 2) + views.translation[:, None]
    depth = np.maximum(placed[..., 2:], 50.0)
    return np.asarray(placed[..., :2] / depth * views.focal[:, None, None] + views.center[:, None])


def _irises(heads: Heads) -> Array:
    """Four points of each iris ``(n, 2, 4, 3)`` mm in the head's axes, around where its gaze leaves the eyeball."""
    corners = heads.landmarks[:, EYES[:, [0, 3]]].mean(axis=2)
    middle = corners + heads.eyeballs + EYEBALL_RADIUS_MM * heads.gaze
    across = np.cross(np.array([0.0, 1.0, 0.0]), -heads.gaze)
    across /= np.linalg.norm(across, axis=-1, keepdims=True)
    down = np.cross(-heads.gaze, across)
    points = np.stack([-across, -down, across, down], axis=2)
    return np.asarray(middle[:, :, None] + heads.iris_radius[:, None, None, None] * points)


def _ring(iris: Array, turns: Array, size: float) -> Array:
    """Eight points ``(n, 8, 2)`` of the ellipse through an iris's four, at angles clockwise from image-right."""
    left, top, right, bottom = np.moveaxis(iris, 1, 0)
    across, down = (right - left) / 2.0, (bottom - top) / 2.0
    ellipse = np.cos(turns)[:, None] * across[:, None] + np.sin(turns)[:, None] * down[:, None]
    return np.asarray(iris.mean(axis=1, keepdims=True) + size * ellipse)


def _lids_of_landmarks() -> Array:
    """Weights ``(2, 12, 6)`` that place each eye's lid points along the curve through its six landmarks."""
    landmarks, eye = np.eye(6), np.empty((12, 6))
    lower, upper = [0, 5, 4, 3], [0, 1, 2, 3]  # landmarks from the outer to the inner corner
    for lid, position in enumerate(_LID_POSITIONS):
        along, at = (upper, _UPPER_POSITIONS) if 0 < lid < 7 else (lower, _LOWER_POSITIONS)
        eye[lid] = [np.interp(position, at, column) for column in landmarks[along].T]
    eye[1::2] = _BULGE * eye[1::2] + (1.0 - _BULGE) / 6.0
    mirrored = eye[[6, 5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7]][:, [3, 2, 1, 0, 5, 4]]
    return np.stack([eye, mirrored])


# Where the extractor's tables put lid points and landmarks along a lid, from 0 at the outer corner to 8 at the inner.
_LID_POSITIONS = (0.15, 1.85, 3.2, 4.25, 5.35, 6.3, 7.4, 5.85, 4.85, 3.8, 2.75, 1.65)
_UPPER_POSITIONS = (-0.1, 3.3, 5.25, 7.7)
_LOWER_POSITIONS = (0.1, 2.7, 4.8, 8.3)
_BULGE = 1.08  # a lid's curve runs outside the chord between two landmarks
_LIDS_OF_LANDMARKS = _lids_of_landmarks()
