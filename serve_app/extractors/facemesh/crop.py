"""Square crops of a picture: what a network sees, and the way back to the picture's coordinates.

Positions are continuous: (0, 0) is the outer corner of the first pixel, whose middle is (0.5, 0.5).
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

Array = npt.NDArray[np.float64]
Affine = tuple[float, float, float, float, float, float]
"""a, b, x, c, d, y: (u, v) goes to (a u + b v + x, c u + d v + y)."""


@dataclass(frozen=True)
class Crop:
    """A square: middle and side in px, turned clockwise on screen by ``angle`` rad, perhaps ``mirrored``."""

    center: tuple[float, float]
    side_px: float
    angle: float = 0.0
    mirrored: bool = False

    def to_picture(self, points: Array) -> Array:
        """Bring ``(n, 2 or 3)`` points from the crop (0..1) to the picture (px); depth scales like x."""
        a, b, x, c, d, y = self.affine
        matrix = np.array([[a, c, 0.0], [b, d, 0.0], [0.0, 0.0, self.side_px], [x, y, 0.0]])
        n_axes = points.shape[1]
        return np.asarray(points @ matrix[:n_axes, :n_axes] + matrix[3, :n_axes])

    @cached_property
    def affine(self) -> Affine:
        """The way from the crop (0..1) to the picture (px)."""
        across, down = math.cos(self.angle) * self.side_px, math.sin(self.angle) * self.side_px
        flip = -1.0 if self.mirrored else 1.0
        a, b, c, d = across * flip, -down, down * flip, across
        x, y = self.center
        return a, b, x - (a + b) / 2, c, d, y - (c + d) / 2


def whole(picture: Image.Image) -> Crop:
    """The smallest upright square around the picture."""
    return Crop((picture.width / 2, picture.height / 2), max(picture.size))


def warp(picture: Image.Image, crop: Crop, side_px: int, *, samples: Literal[1, 4] = 4) -> npt.NDArray[np.uint8]:
    """Sample a crop as ``(side_px, side_px, 3) uint8``, from so many samples a pixel; black outside the picture."""
    a, b, x, c, d, y = crop.affine
    factor = int(crop.side_px / side_px)
    if factor >= 2:  # sampling alone would alias
        picture, left, top = _reduce(picture, crop, factor)
        a, b, x, c, d, y = (length / factor for length in (a, b, x - left, c, d, y - top))
    # The crop's pixels are the picture's own, as for the whole of 640 x 480: there is nothing to sample.
    if (a, b, c, d) == (side_px, 0, 0, side_px) and x.is_integer() and y.is_integer():
        return np.asarray(picture.crop((int(x), int(y), int(x) + side_px, int(y) + side_px)))
    if crop.side_px < side_px:
        return np.asarray(_sample(picture, (a, b, x, c, d, y), side_px, Image.Resampling.BILINEAR))
    # Four nearest samples averaged are as good as one bilinear one here, and take a third of the time.
    factor = 2 if samples == 4 else 1
    sampled = _sample(picture, (a, b, x, c, d, y), factor * side_px, Image.Resampling.NEAREST)
    return np.asarray(sampled.reduce(factor) if factor > 1 else sampled)


def _sample(picture: Image.Image, affine: Affine, side_px: int, resampling: Image.Resampling) -> Image.Image:
    a, b, x, c, d, y = affine
    steps = (a / side_px, b / side_px, x, c / side_px, d / side_px, y)
    return picture.transform((side_px, side_px), Image.Transform.AFFINE, steps, resampling)


def _reduce(picture: Image.Image, crop: Crop, factor: int) -> tuple[Image.Image, int, int]:
    """Average ``factor`` x ``factor`` px blocks of the part around the crop; also where that part starts."""
    a, b, x, c, d, y = crop.affine
    left, right = _span(x, a, b, picture.width)
    top, bottom = _span(y, c, d, picture.height)
    return picture.reduce(factor, (left, top, right, bottom)), left, top


def _span(start: float, first: float, second: float, length_px: int) -> tuple[int, int]:
    """Whole px, at least one, of a picture's axis under a crop whose two sides reach so far along it."""
    low, high = start + min(first, 0) + min(second, 0), start + max(first, 0) + max(second, 0)
    begin = min(max(math.floor(low), 0), length_px - 1)
    return begin, min(max(math.ceil(high), begin + 1), length_px)
