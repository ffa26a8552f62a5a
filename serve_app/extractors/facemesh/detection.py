"""BlazeFace: the two face detectors, their anchors, and how their overlapping boxes become faces."""

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
        across = self.key_points[LEFT_EYE] - self.key_points[RIGHT_EYE]
        return float(np.arctan2(across[1], across[0]))


class FaceDetector:
    """A detector network with the anchors it was trained on."""

    def __init__(self, network: Network, layers: Sequence[tuple[int, int]]) -> None:
        self._network = network
        self._anchors = np.array([anchor for layer in layers for anchor in _layer_anchors(*layer)])

    def detect(self, picture: Image.Image, crop: Crop) -> list[Detection]:
        """Find the faces inside a crop of the picture."""
        side_px = self._network.input_side_px
        boxes, logits = self._network(warp(picture, crop, side_px))
        likely = np.flatnonzero(logits >= MIN_LOGIT)
        scores = sigmoid(logits[likely].astype(np.float64))
        raw = boxes.reshape(-1, 8, 2)[likely].astype(np.float64) / side_px
        raw[:, 0] += self._anchors[likely]
        raw[:, 2:] += self._anchors[likely, None]
        return [_detection(face, score, crop) for face, score in _merge(raw, scores)]


def _layer_anchors(cells: int, per_cell: int) -> Iterator[tuple[float, float]]:
    for row in range(cells):
        for column in range(cells):
            yield from [((column + 0.5) / cells, (row + 0.5) / cells)] * per_cell


def _merge(boxes: Array, scores: Array) -> Iterator[tuple[Array, float]]:
    """Weighted non-maximum suppression: boxes over one face become their average, weighted by score.

    ``boxes`` is ``(n, 8, 2)``: centre, size and six key points.
    """
    while len(scores):
        best = int(scores.argmax())
        same = _overlaps(boxes, boxes[best]) > SAME_FACE_IOU
        same[best] = True  # a box without area overlaps nothing, itself included
        yield np.tensordot(scores[same] / scores[same].sum(), boxes[same], axes=1), float(scores[best])
        boxes, scores = boxes[~same], scores[~same]


def _overlaps(boxes: Array, box: Array) -> Array:
    """Intersection over union of ``(n, 8, 2)`` boxes with one."""
    low = np.maximum(boxes[:, 0] - boxes[:, 1] / 2, box[0] - box[1] / 2)
    high = np.minimum(boxes[:, 0] + boxes[:, 1] / 2, box[0] + box[1] / 2)
    common = np.clip(high - low, 0.0, None).prod(axis=1)
    return np.asarray(common / np.maximum(boxes[:, 1].prod(axis=1) + box[1].prod() - common, 1e-12))


def _detection(box: Array, score: float, crop: Crop) -> Detection:
    points = crop.to_picture(np.concatenate([box[:1], box[2:]]))
    size_px = box[1] * crop.side_px
    return Detection(score, points[0], float(size_px.max()), float(size_px.prod()), points[1:])
