"""A portrait moved like a talking head: it sways, rolls, turns, nods and speaks, and loops.

The head's outline is kept; turning moves the middle of the face against it, as its relief does.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image

Array = npt.NDArray[np.float64]
SourceOf = Callable[[Array], Array]
"""Where in a picture each ``(..., 2)`` px of a warped one comes from, ``(..., 2)`` px."""

_GRID_CELLS = 24  # along each side of the mesh a picture is warped by
_HALF_WIDTH_PX = 48.0  # of the face that motions are measured on
_MOUTH_RADIUS_PX = 26.0


@dataclass(frozen=True)
class Head:
    """Where a head is in its portrait, px: the face, which is an ellipse, its mouth, and what a frame shows of it.

    ``face_center``, ``half_size``, ``mouth_center`` and ``view_center`` are ``(2,)``. ``growth`` ``(3,)`` makes a
    relative of the person: how much wider and longer the head is to be, and wider the jaw, relative.
    """

    face_center: Array
    half_size: Array
    mouth_center: Array
    view_center: Array
    view_height_px: float
    growth: Array = field(default_factory=lambda: np.zeros(3))


@dataclass(frozen=True)
class Motion:
    """Half-ranges of a head's movements, px on a face 96 px wide, rad, or relative; each loops within the clip.

    ``turn_px`` is how far the nose moves against the outline, sideways and in a nod; ``start`` is where in the loop,
    0..1, the clip begins.
    """

    sway_px: Array = field(default_factory=lambda: np.array([6.0, 3.0]))
    roll: float = 0.07
    zoom: float = 0.04
    turn_px: Array = field(default_factory=lambda: np.array([5.0, 3.0]))
    jaw_px: float = 2.6
    start: float = 0.0


def animate(
    portrait: Image.Image, head: Head, motion: Motion, *, n_frames: int, size: tuple[int, int]
) -> list[Image.Image]:
    """Draw ``n_frames`` frames of ``size`` px, one loop of the motion. Deterministic."""
    times = [motion.start + frame / n_frames for frame in range(n_frames)]
    return [warp(portrait, _source_of(head, motion, time, size), size) for time in times]


def warp(picture: Image.Image, source_of: SourceOf, size: tuple[int, int]) -> Image.Image:
    """Draw ``size`` px by a mesh of small quadrilaterals, each sampled where its corners come from."""
    columns, rows = (np.linspace(0, length, _GRID_CELLS + 1).round().astype(int) for length in size)
    grid = source_of(np.stack(np.meshgrid(columns, rows), axis=-1).astype(np.float64))
    cells = [
        (
            (int(columns[i]), int(rows[j]), int(columns[i + 1]), int(rows[j + 1])),
            tuple(np.concatenate([grid[j, i], grid[j + 1, i], grid[j + 1, i + 1], grid[j, i + 1]]).tolist()),
        )
        for j in range(_GRID_CELLS)
        for i in range(_GRID_CELLS)
    ]
    return picture.transform(size, Image.Transform.MESH, cells, Image.Resampling.BICUBIC)


def _source_of(head: Head, motion: Motion, time: float, size: tuple[int, int]) -> SourceOf:
    """Where in the portrait the frame at ``time`` (0..1 of the clip) comes from."""
    unit = head.half_size[0] / _HALF_WIDTH_PX
    phase = 2 * np.pi * time
    roll = motion.roll * np.sin(phase)
    scale = head.view_height_px / size[1] * (1 + motion.zoom * np.sin(phase + 1.0))
    turn = scale * np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
    sway = unit * motion.sway_px * np.sin([phase, 2 * phase + 0.5])
    head_turn = unit * motion.turn_px * np.sin([phase + 0.6, 2 * phase + 1.2])
    jaw_px = unit * motion.jaw_px * np.sin(5 * phase) ** 2

    def source_of(frame_px: Array) -> Array:
        still = (frame_px - np.array(size) / 2) @ turn.T + head.view_center + sway
        moved = still - _bump(still, head.face_center, head.half_size) * head_turn
        below_lips = np.tanh((moved[..., 1:] - head.mouth_center[1]) / (4.0 * unit))
        mouth = np.full(2, _MOUTH_RADIUS_PX * unit)
        opening = _bump(moved, head.mouth_center, mouth) * below_lips * jaw_px
        shut = moved - np.concatenate([np.zeros_like(opening), opening], axis=-1)
        return np.asarray(shut - _growth(shut, head))

    return source_of


def _growth(points: Array, head: Head) -> Array:
    """How far a relative's ``(..., 2)`` px lie outside of the portrait's."""
    offset = points - head.face_center
    width, height, jaw = head.growth
    is_jaw = 0.5 + 0.5 * np.tanh(2.0 * offset[..., 1] / head.half_size[1])
    outside = offset * np.stack([width + jaw * is_jaw, np.full_like(is_jaw, height)], axis=-1)
    return np.asarray(outside * _bump(points, head.face_center, 1.5 * head.half_size))


def _bump(points: Array, center: Array, half_size: Array) -> Array:
    """Smooth weight ``(..., 1)``: 1 in the middle of an ellipse, falling to 0 at about twice its half axes."""
    return np.asarray(np.exp(-(((points - center) / half_size) ** 2).sum(axis=-1, keepdims=True)))
