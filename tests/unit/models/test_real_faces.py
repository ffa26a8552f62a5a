"""The shipped models on real frames through the real extractors: they must not accuse them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from serve_app.demo import talking_head_frames
from serve_app.extractors.facemesh.extractor import FaceMeshExtractor
from serve_app.features.table import read_face
from serve_app.models.detector import Detector


def assert_real(detector: Detector, extractor: FaceMeshExtractor, frames: Sequence[bytes]) -> None:
    rows = [read_face(extractor.extract(frame).csv, min_confidence=0.7).features for frame in frames]
    scores = detector.scores(np.stack(rows))
    assert np.median(scores) < 0.1
    assert scores.max() < 0.5


def test_real_frames_score_as_real(detector: Detector, extractor: FaceMeshExtractor, golden: Path) -> None:
    """A model that fits only its simulation would call the extractor's own errors fake."""
    frames = sorted((golden / "image_sequence" / "frames").iterdir())[::3]
    assert_real(detector, extractor, [frame.read_bytes() for frame in frames])


def test_the_demo_portrait_scores_as_real(detector: Detector, extractor: FaceMeshExtractor, portrait: bytes) -> None:
    """It is the first answer that a newcomer sees."""
    assert_real(detector, extractor, talking_head_frames(portrait, n_frames=10))


def test_real_openface_rows_score_as_real(openface_detector: Detector, golden_rows: npt.NDArray[np.float32]) -> None:
    """Of this one person; the card says who fails."""
    scores = openface_detector.scores(golden_rows)
    assert scores.mean() < 0.15
    assert scores.max() < 0.5
