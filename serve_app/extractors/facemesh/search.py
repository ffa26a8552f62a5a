"""The search for the face of a picture: which detector looks where, and how far its answer is trusted.

Of several faces the largest is taken (area of the box times score), of equal ones the most central.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TypeGuard

import numpy as np
from PIL import Image

from serve_app.extractors.facemesh.crop import Crop, whole
from serve_app.extractors.facemesh.detection import FULL_RANGE_LAYERS, SHORT_RANGE_LAYERS, Detection, FaceDetector
from serve_app.extractors.facemesh.mesh import FaceMesh, lay_mesh
from serve_app.extractors.facemesh.networks import Networks

MIN_CONFIDENCE = 0.5  # a mesh below it is no face
_SURE_SCORE = 0.75  # below it the short-range detector may have missed a small face
_SURE_TRUST = 0.52  # meshes laid wrongly over a turned face reach 0.48; a true one below it is only looked at again
_DEVIATION_SCALE = 0.15
_CLOSER_CROP_PER_BOX = 2.0
_QUARTER_TURNS = (0.0, np.pi / 2, np.pi, -np.pi / 2)

# A tile shows a face of 4 % of its side. OpenFace's own floor is some 60 px, so smaller tiles than this
# would only find what OpenFace cannot.
_MIN_TILE_PX = 480
MIN_TILED_SIDE_PX = 2 * _MIN_TILE_PX
_TILE_OVERLAP = 1.25
_MAX_CANDIDATES = 3  # a mesh that is no face makes way for the next detection; this bounds the time


def is_face(mesh: FaceMesh | None) -> TypeGuard[FaceMesh]:
    """Whether a mesh lies on a face."""
    return mesh is not None and mesh.confidence >= MIN_CONFIDENCE


@dataclass(frozen=True)
class _Look:
    """A detection and the mesh laid over it; of several looks at one face, the most trusted counts."""

    detection: Detection
    mesh: FaceMesh

    @property
    def trust(self) -> float:
        """How far detector and mesh agree that this is a face, 0..1."""
        return self.detection.score * self.mesh.presence / (1.0 + self.mesh.deviation / _DEVIATION_SCALE)

    @property
    def is_sure(self) -> bool:
        """Whether a closer look would be a waste."""
        return self.trust >= _SURE_TRUST


class FaceSearch:
    """The detectors and the mesh network, put to use on one picture after another."""

    def __init__(self, networks: Networks) -> None:
        self._mesh_network = networks.mesh
        self._short_range = FaceDetector(networks.short_range, SHORT_RANGE_LAYERS)
        self._full_range = FaceDetector(networks.full_range, FULL_RANGE_LAYERS)

    def detect(self, picture: Image.Image) -> list[Detection]:
        """Find where near faces may be, for ``find``."""
        return self._short_range.detect(picture, whole(picture))

    def find(self, picture: Image.Image, near: Sequence[Detection]) -> FaceMesh | None:
        """Find the face of a picture, looking at the whole of it; ``near`` is what ``detect`` saw in it."""
        best = self._best_mesh(picture, near, sure=any(detection.score >= _SURE_SCORE for detection in near))
        for turn in _QUARTER_TURNS:
            if is_face(best):
                break
            far = self._full_range.detect(picture, replace(whole(picture), angle=turn))
            best = self._best_mesh(picture, far, sure=False) or best
        return best

    def find_in_tiles(self, picture: Image.Image) -> FaceMesh | None:
        """Find a small face of a large picture, looking at overlapping parts of it."""
        for n_tiles in (2, 4):
            if max(picture.size) < n_tiles * _MIN_TILE_PX:
                break
            tiles = _tiles(picture, n_tiles)
            detections = [found for tile in tiles for found in self._full_range.detect(picture, tile)]
            mesh = self._best_mesh(picture, detections, sure=False)
            if is_face(mesh):
                return mesh
        return None

    def _best_mesh(self, picture: Image.Image, detections: Sequence[Detection], *, sure: bool) -> FaceMesh | None:
        """The mesh of the first face in order of preference that is one; else the surest of those tried."""
        best: FaceMesh | None = None
        for detection in sorted(detections, key=_preference(picture))[:_MAX_CANDIDATES]:
            look = self._look(picture, detection)
            if not (sure and look.is_sure):
                look = self._look_closer(picture, look)
            if best is None or look.mesh.confidence > best.confidence:
                best = look.mesh
            if is_face(best):
                break
        return best

    def _look(self, picture: Image.Image, detection: Detection) -> _Look:
        return _Look(detection, lay_mesh(self._mesh_network, picture, detection))

    def _look_closer(self, picture: Image.Image, first: _Look) -> _Look:
        """Detect the face again from nearby, if need be turned either way: the best of all looks."""
        upright = self._look_again(picture, first, first.detection.angle)
        if upright and upright[0].is_sure:
            return upright[0]
        turned = [look for turn in _QUARTER_TURNS for look in self._look_again(picture, first, turn)]
        best = max([first, *upright, *turned], key=attrgetter("trust"))
        return max([best, *self._look_again(picture, best, best.detection.angle)], key=attrgetter("trust"))

    def _look_again(self, picture: Image.Image, look: _Look, angle: float) -> list[_Look]:
        """What the short-range detector sees around an earlier look: one face, or none."""
        x, y = look.detection.center
        crop = Crop((float(x), float(y)), look.detection.side_px * _CLOSER_CROP_PER_BOX, angle)
        return [self._look(picture, detection) for detection in self._short_range.detect(picture, crop)[:1]]


def _preference(picture: Image.Image) -> Callable[[Detection], tuple[float, float]]:
    """Sort key: largest first, then most central."""
    middle = (picture.width / 2, picture.height / 2)
    return lambda found: (-found.area_px * found.score, math.dist(found.center, middle))


def _tiles(picture: Image.Image, n_tiles: int) -> Iterator[Crop]:
    """Overlapping squares over a picture, ``n_tiles`` of them along its long side."""
    step_px = max(picture.size) / n_tiles
    side_px = step_px * _TILE_OVERLAP
    for y in _middles(picture.height, step_px, side_px):
        for x in _middles(picture.width, step_px, side_px):
            yield Crop((x, y), side_px)


def _middles(length_px: float, step_px: float, side_px: float) -> list[float]:
    """Middles of the tiles along one side, the outer ones flush with the picture's edges."""
    count = int(np.ceil(length_px / step_px))
    if count == 1:
        return [length_px / 2]
    return [float(middle) for middle in np.linspace(side_px / 2, length_px - side_px / 2, count)]
