"""BlazeFace: the two face detectors, their anchors, and how their overlapping boxes become faces."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from serve_app.extractors.facemesh.crop import Crop, warp
from serve_app.extractors.facemesh.networks import Network, sigmoid

Array = npt.NDArray[np.float64]

MIN_LOGIT = 0.0  # a score of 0.5
SAME_FACE_IOU = 0.3

# One row per layer of anchors: cells along a side, anchors per cell. All anchors have the size of the input.
SHORT_RANGE_LAYERS = ((16, 2), (8, 6))
FULL_RANGE_LAYERS = ((48, 1),)

_N_PAIRS = 8  # of numbers in a box: its centre, its size, six key points

RIGHT_EYE, LEFT_EYE, NOSE, MOUTH = range(4)
"""Key points: the image-left eye, the image-right eye, the tip of the nose, the middle of the mouth."""


@dataclass(frozen=True)
class Detection:
    """A face seen by a detector, in px of the picture.

    ``center`` is ``(2,)``, ``side_px`` the longer side of its box, ``key_points`` ``(6, 2)``.
    """

    score: float
    center: Array
    side_px: float
    area_px: float
    key_points: Array

    @property
    def angle(self) -> float:
        """Clockwise turn on screen of the line from eye to eye, rad."""
        x, y = (self.key_points[LEFT_EYE] - self.key_points[RIGHT_EYE]).tolist()
        return math.atan2(y, x)


class FaceDetector:
    """A detector network with the anchors it was trained on."""

    def __init__(self, network: Network, layers: Sequence[tuple[int, int]]) -> None:
        self._network = network
        anchors = np.array([anchor for layer in layers for anchor in _layer_anchors(*layer)])
        self._anchors = np.tile(anchors, _N_PAIRS)  # the box's size is the one pair that is not a place
        self._anchors[:, 2:4] = 0.0

    def detect(self, picture: Image.Image, crop: Crop) -> list[Detection]:
        """Find the faces inside a crop of the picture."""
        side_px = self._network.input_side_px
        boxes, logits = self._network(warp(picture, crop, side_px))
        likely = np.flatnonzero(logits >= MIN_LOGIT)
        scores = sigmoid(logits[likely].astype(np.float64))
        raw = boxes.reshape(-1, 2 * _N_PAIRS)[likely].astype(np.float64) / side_px + self._anchors[likely]
        return [_detection(face, score, crop) for face, score in _merge(raw, scores)]


def _layer_anchors(cells: int, per_cell: int) -> Iterator[tuple[float, float]]:
    for row in range(cells):
        for column in range(cells):
            yield from [((column + 0.5) / cells, (row + 0.5) / cells)] * per_cell


def _merge(boxes: Array, scores: Array) -> Iterator[tuple[Array, float]]:
    """Weighted non-maximum suppression: boxes over one face become their average, weighted by score.

    ``boxes`` is ``(n, 16)``: x and y of centre, size and six key points.
    """
    while len(scores):
        best = int(scores.argmax())
        same = _overlaps(boxes, boxes[best]) > SAME_FACE_IOU
        same[best] = True  # a box without area overlaps nothing, itself included
        shares = np.where(same, scores, 0.0)
        yield shares @ boxes / shares.sum(), float(scores[best])
        if same.all():
            return
        boxes, scores = boxes[~same], scores[~same]


def _overlaps(boxes: Array, box: Array) -> Array:
    """Intersection over union of ``(n, 16)`` boxes with one."""
    middle, size = boxes[:, :2], boxes[:, 2:4]
    reach = (size + box[2:4]) / 2 - np.abs(middle - box[:2])  # by how much two intervals overlap, unless one ...
    width, height = np.minimum(np.minimum(reach, size), box[2:4]).clip(0.0).T  # ... lies within the other
    common = width * height
    return np.asarray(common / np.maximum(size[:, 0] * size[:, 1] + box[2] * box[3] - common, 1e-12))


def _detection(box: Array, score: float, crop: Crop) -> Detection:
    pairs = box.reshape(_N_PAIRS, 2)
    points = crop.to_picture(pairs)
    width, height = (pairs[1] * crop.side_px).tolist()
    return Detection(score, points[0], max(width, height), width * height, points[2:])
