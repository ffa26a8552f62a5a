"""Classic face swaps in pixels: a donor's face laid over a target's by their landmarks, and blended in seamlessly."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from serve_app.talking_head import SourceOf, warp

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_INNER, _EYES_AND_MOUTH, _MOUTH = slice(17, 68), slice(36, 68), slice(48, 68)
_FACE_GROWTH, _MOUTH_GROWTH = 1.15, 1.5  # of the landmarks' hull about its middle: skin to hide the seam in
_MARGIN_PX = 16  # of picture around the hull in which a blend may fade
_MAX_CONTRAST = 1.5


class SwapFamily(StrEnum):
    """A donor's inner face or mouth in the donor's own geometry, or a donor's face reshaped to the target's."""

    FACE = "image_face_swap"
    MOUTH = "image_mouth"
    RESHAPED = "image_reshaped"


@dataclass(frozen=True)
class LocatedFace:
    """A frame, RGB, and where the ``landmarks`` ``(68, 2)`` px of its face lie."""

    picture: Image.Image
    landmarks: Array


@dataclass(frozen=True)
class _Placement:
    """How a donor is laid over a target: where its picture is sampled, where its ``landmarks`` come to lie."""

    source_of: SourceOf
    landmarks: Array


def swap_face(target: LocatedFace, donor: LocatedFace, family: SwapFamily) -> Image.Image:
    """Put the donor's face, or mouth, into the target's frame."""
    match family:
        case SwapFamily.FACE:
            return _paste(target, donor, _align(donor.landmarks, target.landmarks, _EYES_AND_MOUTH), _INNER)
        case SwapFamily.MOUTH:
            return _paste(target, donor, _align(donor.landmarks, target.landmarks, _MOUTH), _MOUTH)
        case SwapFamily.RESHAPED:
            return _paste(target, donor, _reshape(donor.landmarks, target.landmarks), _INNER)


def blend_seamlessly(patch: Array, picture: Array, inside: Mask) -> Array:
    """Blend ``(h, w, 3)`` pictures: gradients of ``patch`` where ``inside``, else of ``picture``, which keeps its rim.

    Pérez, Gangnet, Blake, "Poisson Image Editing" (2003), solved on the whole rectangle.
    """
    pasted = np.where(inside[..., None], patch, picture)
    divergence = np.zeros_like(picture)
    for axis, is_cut in ((0, inside[1:] != inside[:-1]), (1, inside[:, 1:] != inside[:, :-1])):
        excess = np.diff(pasted, axis=axis) - np.diff(picture, axis=axis)
        excess[is_cut] = 0.0  # the seam itself is no edge
        divergence += _difference(excess, axis)
    blended = picture.copy()
    blended[1:-1, 1:-1] += _solve_poisson(divergence[1:-1, 1:-1])
    return blended


def _paste(target: LocatedFace, donor: LocatedFace, placement: _Placement, part: slice) -> Image.Image:
    """Replace the hull of a part, of the target's and of the donor's as it comes to lie."""
    size = target.picture.size
    points = np.concatenate([target.landmarks[part], placement.landmarks[part]])
    outline = _grow(_hull(points), _MOUTH_GROWTH if part == _MOUTH else _FACE_GROWTH)
    rows, columns = _window(outline, size)
    inside = _fill(outline, size)[rows, columns]
    picture = np.array(target.picture, dtype=np.float64)
    warped = np.array(warp(donor.picture, placement.source_of, size), dtype=np.float64)[rows, columns]
    patch = _match_colours(warped, picture[rows, columns], inside)
    picture[rows, columns] = blend_seamlessly(patch, picture[rows, columns], inside)
    return Image.fromarray(np.clip(picture.round(), 0.0, 255.0).astype(np.uint8))


def _align(donor: Array, target: Array, part: slice) -> _Placement:
    """Lay a donor over a target by the similarity that brings a part's landmarks nearest, as complex numbers."""
    source, goal = (points @ np.array([1.0, 1.0j]) for points in (donor, target))
    source_middle, goal_middle = source[part].mean(), goal[part].mean()
    centred = source[part] - source_middle
    factor = np.vdot(centred, goal[part] - goal_middle) / np.vdot(centred, centred)

    def source_of(points: Array) -> Array:
        z = (points @ np.array([1.0, 1.0j]) - goal_middle) / factor + source_middle
        return np.stack([z.real, z.imag], axis=-1)

    placed = (source - source_middle) * factor + goal_middle
    return _Placement(source_of, np.stack([placed.real, placed.imag], axis=-1))


def _reshape(donor: Array, target: Array) -> _Placement:
    """Bend a donor onto a target's landmarks by a thin plate (Bookstein 1989, "Principal Warps")."""
    n = len(target)
    affine = np.column_stack([np.ones(n), target])
    system = np.block([[_thin_plate(target, target), affine], [affine.T, np.zeros((3, 3))]])
    weights = np.linalg.solve(system, np.concatenate([donor, np.zeros((3, 2))]))

    def source_of(points: Array) -> Array:
        flat = points.reshape(-1, 2)
        terms = np.column_stack([_thin_plate(flat, target), np.ones(len(flat)), flat])
        return np.asarray((terms @ weights).reshape(points.shape))

    return _Placement(source_of, target)


def _thin_plate(points: Array, knots: Array) -> Array:
    """The kernel r^2 log r^2 between ``(n, 2)`` points and ``(k, 2)`` knots: ``(n, k)``."""
    squares = ((points[:, None] - knots[None]) ** 2).sum(axis=-1)
    return np.asarray(squares * np.log(np.maximum(squares, 1e-12)))


def _hull(points: Array) -> Array:
    """Corners ``(k, 2)`` of the convex hull, by Andrew's monotone chain."""
    ordered = points[np.lexsort(points.T[::-1])]
    return np.concatenate([_chain(ordered), _chain(ordered[::-1])])


def _chain(points: Array) -> Array:
    """Half a hull, less its last corner."""
    corners: list[Array] = []
    for point in points:
        while len(corners) >= 2 and _turn(corners[-2], corners[-1], point) <= 0:
            corners.pop()
        corners.append(point)
    return np.array(corners[:-1])


def _turn(first: Array, second: Array, third: Array) -> float:
    along, across = second - first, third - first
    return float(along[0] * across[1] - along[1] * across[0])


def _grow(outline: Array, factor: float) -> Array:
    middle = outline.mean(axis=0)
    return np.asarray(middle + (outline - middle) * factor)


def _window(outline: Array, size: tuple[int, int]) -> tuple[slice, slice]:
    """The rows and columns of a picture that hold an outline and a margin."""
    low = np.maximum(np.floor(outline.min(axis=0)).astype(int) - _MARGIN_PX, 0)
    high = np.minimum(np.ceil(outline.max(axis=0)).astype(int) + _MARGIN_PX, size)
    return slice(low[1], high[1]), slice(low[0], high[0])


def _fill(outline: Array, size: tuple[int, int]) -> Mask:
    mask = Image.new("1", size)
    ImageDraw.Draw(mask).polygon([(x, y) for x, y in outline.tolist()], fill=1)
    return np.array(mask)


def _match_colours(patch: Array, picture: Array, inside: Mask) -> Array:
    """Give a patch the picture's mean and spread of each channel inside (Reinhard et al. 2001, but in RGB)."""
    mean, goal = patch[inside].mean(axis=0), picture[inside].mean(axis=0)
    contrast = picture[inside].std(axis=0) / np.maximum(patch[inside].std(axis=0), 1.0)
    return np.asarray(goal + (patch - mean) * np.clip(contrast, 1.0 / _MAX_CONTRAST, _MAX_CONTRAST))


def _difference(forward: Array, axis: int) -> Array:
    """Divergence along one axis of forward differences, as large as the picture."""
    padding = [(0, 0)] * forward.ndim
    padding[axis] = (1, 1)
    return np.asarray(np.diff(np.pad(forward, padding), axis=axis))


def _solve_poisson(divergence: Array) -> Array:
    """Solve Laplace u = ``(h, w, 3)`` with u = 0 around, by sine transforms, in which the 5-point star is diagonal."""
    h, w = divergence.shape[:2]
    eigenvalues = _star(h)[:, None] + _star(w)[None]
    solved = _sine_transform(_sine_transform(divergence) / eigenvalues[..., None])
    return np.asarray(solved * (4.0 / ((h + 1) * (w + 1))))


def _star(n: int) -> Array:
    return np.asarray(2.0 * np.cos(np.pi * np.arange(1, n + 1) / (n + 1)) - 2.0)


def _sine_transform(values: Array) -> Array:
    """Discrete sine transform (DST-I) along both axes; it is its own inverse but for ``(h + 1) (w + 1) / 4``."""
    for axis in (0, 1):
        n = values.shape[axis]
        spectrum = np.fft.rfft(_odd_extension(values, axis), axis=axis)
        values = -0.5 * np.take(spectrum.imag, np.arange(1, n + 1), axis=axis)
    return values


def _odd_extension(values: Array, axis: int) -> Array:
    zero = np.zeros_like(np.take(values, [0], axis=axis))
    return np.concatenate([zero, values, zero, -np.flip(values, axis)], axis=axis)
