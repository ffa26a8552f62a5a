"""Heads: identities and expressions as 68 points in mm, in the head's own axes, with irises.

The face space is this project's own, around its reference shape: Gaussian fields, smooth over the face and
nearly mirror-symmetric, and a handful of hand-made facial movements. Nobody's face went into it.
"""

from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from serve_app.features.geometry import EYEBALL_OFFSET_MM
from serve_app.features.schema import N_LANDMARKS
from serve_app.features.shape import REFERENCE_SHAPE
from serve_app.models.inputs import MIRRORED_POINTS

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Array = npt.NDArray[np.float64]
Record = TypeVar("Record", bound="DataclassInstance")

JAW = np.arange(17)
INNER = np.arange(17, N_LANDMARKS)
BROWS = np.arange(17, 27)
NOSE = np.arange(27, 36)
EYES = np.arange(36, 48).reshape(2, 6)  # image-left eye first; corners at 0 and 3 of each
MOUTH = np.arange(48, N_LANDMARKS)
OUTER_CORNERS = np.array([36, 45])
UPPER_LIDS = np.array([37, 38, 43, 44])
LOWER_LIDS = np.array([41, 40, 47, 46])  # below the upper ones, one by one

_MIRRORED = np.array(MIRRORED_POINTS[:N_LANDMARKS])
_IRIS_RADIUS_MM = 5.85  # 11.7 mm across, the least variable length of a face
_DOWN_THE_NOSE = np.array([0.0, 0.3, 0.7, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])  # bridge to tip, then the nostrils
_LOWER_JAW = np.arange(4, 13)
_LOWER_LIP = np.array([55, 56, 57, 58, 59, 65, 66, 67])
_UPPER_LIP = np.array([49, 50, 51, 52, 53, 61, 62, 63])
_MOUTH_CORNERS = np.array([48, 54, 60, 64])

# How far adults' parts differ beyond smooth fields: heights of brows, nose tip, upper lip and chin, widths of mouth
# and jaw, depths of nose tip, mouth and jaw, in mm.
_HEIGHTS_MM, _WIDTHS_MM, _DEPTHS_MM = (1.5, 1.5, 1.5, 2.5), (1.5, 2.5), (1.5, 1.5, 2.5)


@dataclass(frozen=True)
class Heads:
    """``n`` heads: ``neutral`` and ``movement`` ``(n, 68, 3)`` mm, ``gaze`` ``(n, 2, 3)``, ``iris_radius`` ``(n,)`` mm.

    ``eyeballs`` ``(n, 2, 3)`` mm are the eyeballs' centres, seen from the middle of each eye's corners.
    """

    neutral: Array
    movement: Array
    gaze: Array
    iris_radius: Array
    eyeballs: Array

    def __len__(self) -> int:
        return len(self.neutral)

    @property
    def landmarks(self) -> Array:
        """The faces as they are seen, ``(n, 68, 3)`` mm."""
        return self.neutral + self.movement


def take(record: Record, rows: npt.NDArray[np.intp]) -> Record:
    """Choose rows of a dataclass whose every field is an array over the same faces."""
    return replace(record, **{field.name: getattr(record, field.name)[rows] for field in fields(record)})


def sample_heads(rng: np.random.Generator, n_identities: int, n_frames: int) -> Heads:
    """Sample ``n_frames`` expressions and gazes of each of ``n_identities``, identity by identity."""
    n = n_identities * n_frames
    neutral = np.repeat(_sample_identities(rng, n_identities), n_frames, axis=0)
    iris_radius = np.repeat(_IRIS_RADIUS_MM * rng.normal(1.0, 0.05, n_identities), n_frames)
    eyeballs = np.repeat(_sample_eyeballs(rng, n_identities), n_frames, axis=0)
    movement = _sample_movements(rng, n) + _sample_laughs(rng, n)
    return Heads(neutral, movement, _sample_gazes(rng, n), iris_radius, eyeballs)


def smooth_field(rng: np.random.Generator, n: int, *, length_mm: float, size_mm: float) -> Array:
    """Sample ``(n, 68, 3)`` mm of Gaussian displacement, alike for points nearer than ``length_mm``."""
    noise = rng.normal(size=(n, N_LANDMARKS, 3))
    return np.asarray(size_mm * np.einsum("pq,nqc->npc", _field_factor(length_mm), noise))


def _sample_movements(rng: np.random.Generator, n: int) -> Array:
    """Sample expressions as displacements ``(n, 68, 3)`` mm: many small, few strong."""
    moves = _facial_movements()
    amounts = rng.normal(0.2, 0.5, (n, len(moves))) * (rng.random((n, len(moves))) < 0.7)
    displaced = np.einsum("nm,mpc->npc", np.clip(amounts, -0.4, 1.3), moves)
    return np.asarray(displaced + smooth_field(rng, n, length_mm=15.0, size_mm=0.4))


def _sample_laughs(rng: np.random.Generator, n: int) -> Array:
    """Sample displacements ``(n, 68, 3)`` mm: on a third of the faces a smile, most of them with the mouth open."""
    open_mouth, smile = _facial_movements()[:2]
    bare_teeth = np.zeros_like(smile)
    bare_teeth[_UPPER_LIP] = (0.0, -3.0, 1.0)
    strength = rng.uniform(0.3, 1.5, n) * (rng.random(n) < 1 / 3)
    teeth, opening = rng.uniform(0.0, 1.2, n), rng.uniform(-0.1, 0.6, n)
    amounts = strength[:, None] * np.stack([np.ones(n), teeth, opening], axis=1)
    return np.asarray(np.einsum("nm,mpc->npc", amounts, np.stack([smile, bare_teeth, open_mouth])))


def _sample_gazes(rng: np.random.Generator, n: int) -> Array:
    """Sample unit gaze directions ``(n, 2, 3)`` in the head's axes: both eyes on one target 0.3 to 5 m away."""
    # rad; eyes seldom turn farther than the head helps them; the reference shape's axes point above a level gaze
    angles = rng.normal((0.0, 0.13), (0.22, 0.13), (n, 2))
    distance = np.exp(rng.uniform(np.log(300.0), np.log(5000.0), n))
    half_span = 31.5 / distance  # rad each eye turns inwards; 63 mm between the pupils
    x = angles[:, :1] + np.stack([half_span, -half_span], axis=1)
    x = x + rng.normal(0.0, 0.02, (n, 2))  # eyes differ by a degree or so even when they fixate
    y = angles[:, 1:] + rng.normal(0.0, 0.015, (n, 2))
    return np.stack([np.sin(x) * np.cos(y), np.sin(y), -np.cos(x) * np.cos(y)], axis=-1)


def _mirror(displacement: Array) -> Array:
    """Mirror displacements ``(n, 68, 3)`` between image-left and image-right."""
    return np.asarray(displacement[:, _MIRRORED] * np.array([-1.0, 1.0, 1.0]))


def _sample_identities(rng: np.random.Generator, n: int) -> Array:
    stretch = rng.normal(1.0, 0.035, (n, 1, 3)) * rng.normal(1.0, 0.03, (n, 1, 1))
    coarse = smooth_field(rng, n, length_mm=45.0, size_mm=1.5)
    fine = smooth_field(rng, n, length_mm=14.0, size_mm=0.7)
    symmetric = (coarse + fine + _mirror(coarse + fine)) / np.sqrt(2.0)
    lopsided = smooth_field(rng, n, length_mm=35.0, size_mm=0.2)
    own = rng.normal(0.0, 0.15, (n, N_LANDMARKS, 3))
    return np.asarray(REFERENCE_SHAPE * stretch + symmetric + lopsided + own + _sample_proportions(rng, n))


def _sample_proportions(rng: np.random.Generator, n: int) -> Array:
    """Sample how parts of a face are placed and sized beyond smooth fields: displacements ``(n, 68, 3)`` mm."""
    brow, nose, lip, chin = rng.normal(0.0, _HEIGHTS_MM, (n, 4)).T[..., None]
    mouth_width, jaw_width = rng.normal(0.0, _WIDTHS_MM, (n, 2)).T[..., None]
    nose_depth, mouth_depth, jaw_depth = rng.normal(0.0, _DEPTHS_MM, (n, 3)).T[..., None]
    across = REFERENCE_SHAPE[:, 0]
    shift = np.zeros((n, N_LANDMARKS, 3))
    shift[:, BROWS, 1] += brow
    shift[:, NOSE] += np.stack([np.zeros((n, 9)), nose * _DOWN_THE_NOSE, nose_depth * _DOWN_THE_NOSE], axis=-1)
    shift[:, MOUTH, 0] += mouth_width / 2.0 * across[MOUTH] / across[MOUTH].max()
    shift[:, MOUTH, 1:] += np.stack([lip, mouth_depth], axis=-1)
    shift[:, JAW, 0] += jaw_width / 2.0 * across[JAW] / across[JAW].max()
    shift[:, JAW, 1] += chin * np.sin(np.linspace(0.0, np.pi, 17))
    shift[:, JAW, 2] += jaw_depth
    return shift


def _sample_eyeballs(rng: np.random.Generator, n: int) -> Array:
    """Centres of eyeballs, medial of the corners' middle: so both extractors' eyes are parallel, as on photographs."""
    lateral = -0.7 + rng.normal(0.0, 0.6, (n, 1))
    own = rng.normal(0.0, 0.3, (n, 2, 3))
    own[..., 0] += lateral * np.array([-1.0, 1.0])
    return EYEBALL_OFFSET_MM + own


@lru_cache(maxsize=16)
def _field_factor(length_mm: float) -> Array:
    """A square root of the squared-exponential covariance of the reference points, ``(68, 68)``."""
    distance = np.linalg.norm(REFERENCE_SHAPE[:, None] - REFERENCE_SHAPE[None], axis=-1)
    covariance = np.exp(-0.5 * (distance / length_mm) ** 2)
    return np.linalg.cholesky(covariance + 1e-6 * np.eye(N_LANDMARKS))


@lru_cache(maxsize=1)
def _facial_movements() -> Array:
    """Displacements ``(9, 68, 3)`` mm at full strength."""
    moves = np.zeros((9, N_LANDMARKS, 3))
    open_mouth, smile, pucker, raise_brows, frown, blink, one_brow, jaw_aside, skewed_mouth = moves
    open_mouth[_LOWER_LIP] = (0.0, 14.0, 3.0)
    open_mouth[_MOUTH_CORNERS] = (0.0, 6.0, 1.0)
    open_mouth[_LOWER_JAW] = np.outer(np.sin(np.linspace(0.0, np.pi, 9)), (0.0, 14.0, 4.0))
    smile[_MOUTH_CORNERS[[0, 2]]], smile[_MOUTH_CORNERS[[1, 3]]] = (-5.0, -4.0, 3.0), (5.0, -4.0, 3.0)
    smile[[49, 59]], smile[[53, 55]] = (-3.0, -2.0, 1.5), (3.0, -2.0, 1.5)
    pucker[MOUTH] = (REFERENCE_SHAPE[MOUTH] - REFERENCE_SHAPE[MOUTH].mean(axis=0)) * (-0.25, 0.1, 0.0) - (0.0, 0.0, 3.0)
    raise_brows[BROWS] = (0.0, -5.0, 0.0)
    frown[BROWS] = (0.0, 3.0, 0.0)
    frown[[20, 21]], frown[[22, 23]] = (1.5, 4.0, 0.0), (-1.5, 4.0, 0.0)
    blink[UPPER_LIDS] = (REFERENCE_SHAPE[LOWER_LIDS] - REFERENCE_SHAPE[UPPER_LIDS]) * 0.7
    one_brow[BROWS[:5]] = (0.0, -3.0, 0.0)
    jaw_aside[_LOWER_JAW] = np.outer(np.sin(np.linspace(0.0, np.pi, 9)), (3.0, 0.0, 0.0))
    jaw_aside[_LOWER_LIP] = (2.0, 0.0, 0.0)
    skewed_mouth[MOUTH] = (1.5, 0.0, 0.0)
    return moves
