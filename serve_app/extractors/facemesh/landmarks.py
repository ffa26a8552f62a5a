"""Tables from the networks' points to OpenFace's landmarks: the 68 of iBUG, and 28 for each eye.

Each row is a weighted mean of a few network points. Only the image-left half is written down; the other
half is its mirror image. The weights were fitted to OpenFace's output on four people, and hold within 3 %
of the eye distance on the person left out of the fit.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from serve_app.features.schema import N_LANDMARKS

Array = npt.NDArray[np.float64]
Weights = Mapping[int, float]

PUPIL_PER_IRIS = 0.44  # no network sees the pupil; OpenFace's ring is .43 to .46 of the iris

_MESH_TO_68: Mapping[int, Weights] = {
    # jaw, from the ear to the chin
    0: {127: 0.85, 34: 0.1, 162: 0.05},
    1: {234: 0.6, 137: 0.2, 227: 0.2},
    2: {93: 0.6, 177: 0.4},
    3: {58: 0.65, 177: 0.35},
    4: {172: 0.7, 58: 0.3},
    5: {136: 1.0},
    6: {149: 1.0},
    7: {148: 0.65, 176: 0.35},
    8: {152: 1.0},
    # brow
    17: {70: 1.0},
    18: {63: 0.85, 104: 0.15},
    19: {105: 0.7, 66: 0.2, 69: 0.1},
    20: {66: 0.75, 107: 0.25},
    21: {107: 0.65, 55: 0.35},
    # nose
    27: {168: 0.7, 6: 0.3},
    28: {197: 1.0},
    29: {5: 0.65, 195: 0.35},
    30: {4: 1.0},
    31: {240: 0.65, 75: 0.25, 99: 0.1},
    32: {99: 0.7, 97: 0.3},
    33: {2: 0.75, 164: 0.25},
    # eye; in the picture plane the iris network's contour is better
    36: {33: 1.0},
    37: {160: 0.6, 159: 0.4},
    38: {158: 0.8, 157: 0.2},
    39: {133: 0.25, 155: 0.55, 173: 0.2},
    40: {153: 1.0},
    41: {144: 0.85, 145: 0.15},
    # mouth
    48: {61: 0.9, 57: 0.1},
    49: {39: 0.5, 40: 0.4, 73: 0.1},
    50: {37: 1.0},
    51: {0: 0.65, 11: 0.35},
    57: {17: 0.85, 16: 0.15},
    58: {84: 1.0},
    59: {91: 0.6, 181: 0.3, 182: 0.1},
    60: {78: 0.5, 62: 0.4, 95: 0.1},
    61: {82: 0.8, 41: 0.2},
    62: {13: 1.0},
    66: {14: 0.9, 13: 0.1},
    67: {87: 0.7, 178: 0.3},
}

# The twin across the face of each mesh point used above; a point that is not listed lies in the middle.
_MESH_TWINS: Mapping[int, int] = {
    127: 356, 34: 264, 162: 389, 234: 454, 137: 366, 227: 447, 93: 323, 177: 401, 58: 288, 172: 397, 136: 365,
    149: 378, 148: 377, 176: 400, 70: 300, 63: 293, 104: 333, 105: 334, 66: 296, 69: 299, 107: 336, 55: 285,
    240: 460, 75: 305, 99: 328, 97: 326, 33: 263, 160: 387, 159: 386, 158: 385, 157: 384, 133: 362, 155: 382,
    173: 398, 153: 380, 144: 373, 145: 374, 61: 291, 57: 287, 39: 269, 40: 270, 73: 303, 37: 267, 84: 314,
    91: 321, 181: 405, 182: 406, 78: 308, 62: 292, 95: 324, 82: 312, 41: 271, 87: 317, 178: 402,
}  # fmt: skip

LANDMARK_TWINS: Mapping[int, int] = {
    **{index: 16 - index for index in range(8)},
    **{index: 43 - index for index in range(17, 22)},
    **{31: 35, 32: 34, 36: 45, 37: 44, 38: 43, 39: 42, 40: 47, 41: 46},
    **{48: 54, 49: 53, 50: 52, 59: 55, 58: 56, 60: 64, 61: 63, 67: 65},
}
"""Image-left landmark to its image-right twin, of the 68; those not listed lie in the middle of the face."""

# From the iris network's contour, whose points 0..8 run along the lower lid from the outer corner to the
# inner one, 9..15 along the upper lid.
_CONTOUR_TO_68: tuple[Weights, ...] = (
    {0: 0.9, 1: 0.1},
    {11: 0.7, 12: 0.3},
    {13: 0.75, 14: 0.25},
    {8: 0.7, 15: 0.3},
    {4: 0.2, 5: 0.8},
    {2: 0.3, 3: 0.7},
)
_CONTOUR_TO_LIDS: tuple[Weights, ...] = (
    {0: 0.85, 1: 0.15},
    {9: 0.15, 10: 0.85},
    {11: 0.8, 12: 0.2},
    {12: 0.75, 13: 0.25},
    {13: 0.65, 14: 0.35},
    {14: 0.7, 15: 0.3},
    {8: 0.4, 15: 0.6},
    {5: 0.15, 6: 0.85},
    {4: 0.15, 5: 0.85},
    {3: 0.2, 4: 0.8},
    {2: 0.25, 3: 0.75},
    {1: 0.65, 2: 0.35},
)
_MIRRORED_68 = [3, 2, 1, 0, 5, 4]
_MIRRORED_LIDS = [6, 5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7]

N_CONTOUR_POINTS = 16  # of the iris network's 71; the others are brows
N_EYE_ROWS = 6 + 28


def _matrix(rows: Mapping[int, Weights], shape: tuple[int, int]) -> Array:
    matrix = np.zeros(shape)
    for row, weights in rows.items():
        matrix[row, list(weights)] = list(weights.values())
    return matrix


def _both_halves(rows: Mapping[int, Weights]) -> dict[int, Weights]:
    mirrored = {
        LANDMARK_TWINS[row]: {_MESH_TWINS.get(index, index): weight for index, weight in weights.items()}
        for row, weights in rows.items()
        if row in LANDMARK_TWINS
    }
    return {**rows, **mirrored}


def _eye_matrix(*, image_right: bool) -> Array:
    """Weights ``(34, 20)`` from a contour of 16 points and an iris of 4 to the eye's six landmarks and its 28."""
    six = _matrix(dict(enumerate(_CONTOUR_TO_68)), (6, N_CONTOUR_POINTS))
    lids = _matrix(dict(enumerate(_CONTOUR_TO_LIDS)), (12, N_CONTOUR_POINTS))
    if image_right:
        six, lids = six[_MIRRORED_68], lids[_MIRRORED_LIDS]
    matrix = np.zeros((N_EYE_ROWS, N_CONTOUR_POINTS + 4))
    matrix[:6, :N_CONTOUR_POINTS], matrix[14:26, :N_CONTOUR_POINTS] = six, lids
    matrix[6:14, N_CONTOUR_POINTS:], matrix[26:, N_CONTOUR_POINTS:] = _ring(1.0), _ring(PUPIL_PER_IRIS)[::-1]
    return matrix


def _ring(radius: float) -> Array:
    """Weights ``(8, 4)`` of an iris's image-left, top, image-right and bottom: clockwise on screen from image-left."""
    eighths = np.arange(8) * np.pi / 4
    x, y = radius * np.cos(eighths) / 2, radius * np.sin(eighths) / 2
    return 0.25 + np.stack([x, y, -x, -y], axis=1)


_MESH_MATRIX = _matrix(_both_halves(_MESH_TO_68), (N_LANDMARKS, 468))
_MESH_POINTS = np.flatnonzero(_MESH_MATRIX.any(axis=0))  # a quarter of them has a say
_MESH_WEIGHTS = np.ascontiguousarray(_MESH_MATRIX[:, _MESH_POINTS])
_EYE_MATRICES = tuple(_eye_matrix(image_right=image_right) for image_right in (False, True))


def landmarks_of_mesh(points: Array) -> Array:
    """Pick the 68 landmarks out of a mesh: ``(468, d)`` to ``(68, d)``."""
    return np.asarray(_MESH_WEIGHTS @ points[_MESH_POINTS])


def points_of_eye(points: Array, *, image_right: bool) -> Array:
    """Six of the 68 landmarks, 36..41 or 42..47, then the eye's own 28 (iris ring, lids, pupil ring): ``(34, d)``.

    ``points`` is ``(20, d)``: a contour of 16, then the iris's image-left, top, image-right and bottom.
    """
    return np.asarray(_EYE_MATRICES[image_right] @ points)
