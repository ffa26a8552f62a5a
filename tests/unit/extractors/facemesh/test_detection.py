"""The detectors' boxes and how they merge."""

import numpy as np
from PIL import Image

from serve_app.extractors.facemesh.crop import whole
from serve_app.extractors.facemesh.detection import SHORT_RANGE_LAYERS, FaceDetector
from serve_app.extractors.facemesh.networks import Network

PICTURE = Image.new("RGB", (128, 128))


class FakeNetwork(Network):
    """Answers with the given boxes at the given anchors."""

    input_side_px = 128

    def __init__(self, faces: dict[int, tuple[float, list[float]]]) -> None:
        self._boxes = np.zeros((896, 16), np.float32)
        self._logits = np.full(896, -10, np.float32)
        for anchor, (logit, box) in faces.items():
            self._logits[anchor], self._boxes[anchor, : len(box)] = logit, box

    def __call__(self, pixels: object) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
        return [self._boxes.ravel(), self._logits]


def detect(faces: dict[int, tuple[float, list[float]]]) -> list[tuple[float, list[float]]]:
    found = FaceDetector(FakeNetwork(faces), SHORT_RANGE_LAYERS).detect(PICTURE, whole(PICTURE))
    return [(round(face.score, 3), face.center.round(1).tolist()) for face in found]


def test_a_box_is_told_relative_to_its_anchor() -> None:
    """The first anchor is the middle of the first 8 px cell."""
    assert detect({0: (10.0, [3.0, 5.0, 20.0, 20.0])}) == [(1.0, [7.0, 9.0])]


def test_overlapping_boxes_become_their_weighted_mean() -> None:
    """Two anchors of one cell see one face; the surer one counts more."""
    faces = {0: (10.0, [0.0, 0.0, 20.0, 20.0]), 1: (0.0, [3.0, 0.0, 20.0, 20.0])}
    assert detect(faces) == [(1.0, [5.0, 4.0])]


def test_boxes_apart_stay_two_faces() -> None:
    """The surest comes first."""
    faces = {0: (1.0, [0.0, 0.0, 20.0, 20.0]), 1: (3.0, [90.0, 90.0, 20.0, 20.0])}
    assert [center for _, center in detect(faces)] == [[94.0, 94.0], [4.0, 4.0]]


def test_an_unsure_box_is_dropped() -> None:
    """Below a score of one half."""
    assert detect({0: (-0.1, [0.0, 0.0, 20.0, 20.0])}) == []


def test_a_box_without_area_ends_the_merge_too() -> None:
    """It overlaps nothing, not even itself."""
    assert len(detect({0: (1.0, [0.0, 0.0, 0.0, 0.0])})) == 1
