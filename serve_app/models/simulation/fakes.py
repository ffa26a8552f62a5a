"""Fakes: a real face and a donor's, in the picture, made into what a manipulation leaves behind.

Every function takes the target's heads, views and rendered faces and a donor for each of them. What is
replaced comes from the donor; what a forger does not touch, the outline above all, stays the target's.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from serve_app.features.geometry import rotation_from_euler
from serve_app.models.simulation.anatomy import EYES, INNER, MOUTH, Heads, take
from serve_app.models.simulation.scene import Faces, Views, render

Array = npt.NDArray[np.float64]
_EYES_AND_MOUTH = np.concatenate([EYES.ravel(), MOUTH])


class FakeFamily(StrEnum):
    """What was manipulated."""

    FACE_SWAP = "face_swap"
    MOUTH = "mouth"
    GAZE = "gaze"
    POSE = "pose"
    BLEND = "blend"


@dataclass(frozen=True)
class Pairs:
    """``n`` targets with the heads of their donors: what a forger starts from."""

    heads: Heads
    donors: Heads
    views: Views

    def take(self, rows: npt.NDArray[np.intp]) -> "Pairs":
        """Choose pairs by index."""
        return Pairs(take(self.heads, rows), take(self.donors, rows), take(self.views, rows))


@dataclass(frozen=True)
class _Misfit:
    """Standard deviations of a misalignment: a shift in mm, a turn in rad, a relative zoom."""

    shift_mm: float
    turn: float
    zoom: float


def forge(rng: np.random.Generator, family: FakeFamily, pairs: Pairs) -> Faces:
    """Make one fake of each pair."""
    target = render(pairs.heads, pairs.views)
    match family:
        case FakeFamily.FACE_SWAP:
            return _swap_face(rng, pairs, target)
        case FakeFamily.MOUTH:
            return _swap_mouth(rng, pairs, target)
        case FakeFamily.GAZE:
            return _mismatch_gaze(rng, pairs, target)
        case FakeFamily.POSE:
            return _turn_inner_face(rng, pairs, target)
        case FakeFamily.BLEND:
            return _jitter(rng, target)


def _swap_face(rng: np.random.Generator, pairs: Pairs, target: Faces) -> Faces:
    """Put the donor's inner face, with the target's expression, over the target's by an imperfect similarity."""
    n = len(pairs.heads)
    driven = replace(pairs.donors, movement=0.8 * pairs.heads.movement, gaze=pairs.heads.gaze)
    donor = render(driven, pairs.views.turned(_turns(rng, n, 0.08) @ pairs.views.rotation))
    donor = _align(donor, target, _EYES_AND_MOUTH)
    return _replace_inner(target, _misplace(rng, donor, INNER, _Misfit(shift_mm=2.5, turn=0.05, zoom=0.06)), INNER)


def _swap_mouth(rng: np.random.Generator, pairs: Pairs, target: Faces) -> Faces:
    """Give the target the donor's mouth and words; the jaw goes on as it was."""
    donor = _align(render(pairs.donors, pairs.views), target, MOUTH)
    return _replace_inner(
        target, _misplace(rng, donor, MOUTH, _Misfit(shift_mm=3.0, turn=0.1, zoom=0.15)), MOUTH, with_eyes=False
    )


def _mismatch_gaze(rng: np.random.Generator, pairs: Pairs, target: Faces) -> Faces:
    """Let the eyes cross or part, with irises of their own sizes."""
    n = len(pairs.heads)
    apart = rng.uniform(0.15, 0.5, (n, 2)) * rng.choice((-1.0, 1.0), (n, 1)) * (-1.0, 1.0)  # rad
    directions = pairs.heads.gaze + np.stack([apart, rng.normal(0.0, 0.1, (n, 2)), np.zeros((n, 2))], axis=-1)
    gaze = directions / np.linalg.norm(directions, axis=-1, keepdims=True)
    irises = render(replace(pairs.heads, gaze=gaze), pairs.views).irises
    middle = irises.mean(axis=2, keepdims=True)
    return replace(target, irises=middle + (irises - middle) * rng.normal(1.0, 0.08, (n, 2, 1, 1)))


def _turn_inner_face(rng: np.random.Generator, pairs: Pairs, target: Faces) -> Faces:
    """Leave the outline as it was and turn the face within it (Yang, Li, Lyu 2019, arXiv 1811.00661)."""
    turns = rotation_from_euler(_signed(rng, (len(pairs.heads), 3), 0.06, 0.28) * (0.7, 1.0, 0.5))
    turned = render(pairs.heads, pairs.views.turned(turns @ pairs.views.rotation))
    turned = _align(turned, target, _EYES_AND_MOUTH)
    return _replace_inner(target, _misplace(rng, turned, INNER, _Misfit(shift_mm=1.0, turn=0.02, zoom=0.02)), INNER)


def _jitter(rng: np.random.Generator, target: Faces) -> Faces:
    """Blend badly: an inner face a little too large or small, and features that do not sit still."""
    n = len(target.landmarks)
    zoomed = _misplace(rng, target, INNER, _Misfit(shift_mm=1.0, turn=0.02, zoom=0.0))
    middle = zoomed.landmarks[:, INNER, :2].mean(axis=1, keepdims=True)
    zoom = 1.0 + _signed(rng, (n, 1, 1), 0.04, 0.12)
    landmarks, irises = zoomed.landmarks.copy(), zoomed.irises
    landmarks[..., :2] = middle + (landmarks[..., :2] - middle) * zoom
    landmarks[..., :2] += target.scale[:, None, None] * rng.uniform(0.5, 1.5, (n, 1, 1)) * rng.normal(size=(n, 68, 2))
    return _replace_inner(
        target, replace(zoomed, landmarks=landmarks, irises=_zoom_irises(irises, middle, zoom)), INNER
    )


def _replace_inner(target: Faces, donor: Faces, points: npt.NDArray[np.intp], *, with_eyes: bool = True) -> Faces:
    landmarks = target.landmarks.copy()
    landmarks[:, points] = donor.landmarks[:, points]
    return replace(target, landmarks=landmarks, irises=donor.irises if with_eyes else target.irises)


def _align(donor: Faces, target: Faces, points: npt.NDArray[np.intp]) -> Faces:
    """Bring donors onto targets by the 2D similarity that fits ``points`` best, as complex least squares."""
    source, goal = _complex(donor.landmarks[:, points]), _complex(target.landmarks[:, points])
    source_middle, goal_middle = source.mean(axis=1), goal.mean(axis=1)
    centred = source - source_middle[:, None]
    factor = (np.conj(centred) * (goal - goal_middle[:, None])).sum(axis=1) / (np.abs(centred) ** 2).sum(axis=1)
    return _transform(donor, source_middle, factor, goal_middle)


def _misplace(rng: np.random.Generator, faces: Faces, points: npt.NDArray[np.intp], misfit: _Misfit) -> Faces:
    """Misalign faces about the middle of ``points``."""
    n = len(faces.landmarks)
    middle = _complex(faces.landmarks[:, points]).mean(axis=1)
    factor = rng.normal(1.0, misfit.zoom, n) * np.exp(1j * rng.normal(0.0, misfit.turn, n))
    shift = misfit.shift_mm * faces.scale * (rng.normal(size=n) + 1j * rng.normal(size=n))
    return _transform(faces, middle, factor, middle + shift)


def _transform(
    faces: Faces,
    middle: npt.NDArray[np.complex128],
    factor: npt.NDArray[np.complex128],
    goal: npt.NDArray[np.complex128],
) -> Faces:
    """Apply ``goal + factor * (z - middle)`` to every face's points; depth scales along."""
    landmarks = faces.landmarks.copy()
    flat = goal[:, None] + factor[:, None] * (_complex(landmarks) - middle[:, None])
    landmarks[..., 0], landmarks[..., 1] = flat.real, flat.imag
    landmarks[..., 2] *= np.abs(factor)[:, None]
    rings = goal[:, None, None] + factor[:, None, None] * (_complex(faces.irises) - middle[:, None, None])
    return replace(faces, landmarks=landmarks, irises=np.stack([rings.real, rings.imag], axis=-1))


def _complex(points: Array) -> npt.NDArray[np.complex128]:
    return points[..., 0] + 1j * points[..., 1]


def _turns(rng: np.random.Generator, n: int, size: float) -> Array:
    return rotation_from_euler(rng.normal(0.0, size, (n, 3)))


def _signed(rng: np.random.Generator, shape: tuple[int, ...], low: float, high: float) -> Array:
    """Uniform between ``low`` and ``high``, of either sign."""
    return np.asarray(rng.uniform(low, high, shape) * rng.choice((-1.0, 1.0), shape))


def _zoom_irises(irises: Array, middle: Array, zoom: Array) -> Array:
    return np.asarray(middle[:, None] + (irises - middle[:, None]) * zoom[..., None])
