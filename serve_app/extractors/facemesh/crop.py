"""Square crops of a picture: what a network sees, and the way back to the picture's coordinates.

Positions are continuous: (0, 0) is the outer corner of the first pixel, whose middle is (0.5, 0.5).
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from PIL import Image

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Crop:
    """A square: middle and side in px, turned clockwise on screen by ``angle`` rad, perhaps ``mirrored``."""

    center: tuple[float, float]
    side_px: float
    angle: float = 0.0
    mirrored: bool = False

    def to_picture(self, points: Array) -> Array:
        """Bring ``(n, 2 or 3)`` points from the crop (0..1) to the picture (px); depth scales like x."""
        matrix, offset = self.affine
        placed = np.array(points, dtype=np.float64) * self.side_px
        placed[:, :2] = points[:, :2] @ matrix.T + offset
        return placed

    @cached_property
    def affine(self) -> tuple[Array, Array]:
        """``(2, 2)`` matrix and ``(2,)`` offset from the crop (0..1) to the picture (px)."""
        c, s = math.cos(self.angle) * self.side_px, math.sin(self.angle) * self.side_px
        flip = -1.0 if self.mirrored else 1.0
        matrix = np.array([[c * flip, -s], [s * flip, c]])
        return matrix, np.array(self.center) - matrix.sum(axis=1) / 2


def whole(picture: Image.Image) -> Crop:
    """The smallest upright square around the picture."""
    return Crop((picture.width / 2, picture.height / 2), max(picture.size))


def warp(picture: Image.Image, crop: Crop, side_px: int) -> npt.NDArray[np.uint8]:
    """Sample a crop as ``(side_px, side_px, 3) uint8``; black outside the picture."""
    matrix, offset = crop.affine
    factor = int(crop.side_px / side_px)
    if factor >= 2:  # sampling alone would alias
        picture, origin = _reduce(picture, crop, factor)
        matrix, offset = matrix / factor, (offset - origin) / factor
    if crop.side_px < side_px:
        return np.asarray(_sample(picture, matrix, offset, side_px, Image.Resampling.BILINEAR))
    # Four nearest samples averaged are as good as one bilinear one here, and take a third of the time.
    return np.asarray(_sample(picture, matrix, offset, 2 * side_px, Image.Resampling.NEAREST).reduce(2))


def _sample(
    picture: Image.Image, matrix: Array, offset: Array, side_px: int, resampling: Image.Resampling
) -> Image.Image:
    (a, b), (c, d) = (matrix / side_px).tolist()
    x, y = offset.tolist()
    return picture.transform((side_px, side_px), Image.Transform.AFFINE, (a, b, x, c, d, y), resampling)


def _reduce(picture: Image.Image, crop: Crop, factor: int) -> tuple[Image.Image, Array]:
    """Average ``factor`` x ``factor`` px blocks of the part around the crop; also where that part starts."""
    matrix, offset = crop.affine
    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]) @ matrix.T + offset
    left, top = np.clip(np.floor(corners.min(axis=0)), 0, np.array(picture.size) - 1).astype(int)
    right, bottom = np.clip(np.ceil(corners.max(axis=0)), (left + 1, top + 1), picture.size).astype(int)
    return picture.reduce(factor, (left, top, right, bottom)), np.array([left, top])
