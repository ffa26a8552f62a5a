"""The work of every design: the service's own extractor, parser and detector, one after the other in one process."""

from collections.abc import Sequence
from statistics import fmean

import numpy as np
import torch
from pydantic import BaseModel

from benchmarks.bare import CHUNK
from serve_app.errors import FrameError
from serve_app.extractors.facemesh.extractor import FaceMeshExtractor
from serve_app.features.table import FaceFeatures, read_faces
from serve_app.models.detector import Detectors
from serve_app.models.registry import ModelRegistry
from serve_app.settings import DEFAULT_MODEL, Backend, ExtractorSettings, ParserSettings, PredictorSettings


class Summary(BaseModel):
    """Of a request's frames."""

    total_frames: int
    scored_frames: int
    average_score: float | None


class Answer(BaseModel):
    """Each frame's P(fake), None where it has none, and their summary."""

    scores: list[float | None]
    summary: Summary


class Detection:
    """From CSVs to scores."""

    def __init__(self, backend: Backend = "facemesh") -> None:
        detectors = Detectors(ModelRegistry(PredictorSettings().models_dir), torch.device("cpu"))
        self._detector = detectors.find(DEFAULT_MODEL, backend)
        self._min_confidence = ParserSettings().min_confidence

    def score(self, csvs: Sequence[bytes | FrameError]) -> list[float | None]:
        """Score each CSV."""
        faces = read_faces([csv for csv in csvs if isinstance(csv, bytes)], min_confidence=self._min_confidence)
        found = [face for face in faces if isinstance(face, FaceFeatures)]
        rows = np.stack([face.features for face in found]) if found else np.empty((0, 674), np.float32)
        scores = iter(self._detector.scores(rows).tolist())
        by_csv = iter([next(scores) if isinstance(face, FaceFeatures) else None for face in faces])
        return [next(by_csv) if isinstance(csv, bytes) else None for csv in csvs]


class Scorer:
    """From images to scores."""

    def __init__(self) -> None:
        self._extractor = FaceMeshExtractor(ExtractorSettings())
        self._detection = Detection()

    def score(self, images: Sequence[bytes]) -> list[float | None]:
        """Score each image."""
        chunks = [images[start : start + CHUNK] for start in range(0, len(images), CHUNK)]
        frames = [frame for chunk in chunks for frame in self._extractor.extract_chunk(chunk)]
        return self._detection.score([frame if isinstance(frame, FrameError) else frame.csv for frame in frames])


def answer(scores: list[float | None]) -> Answer:
    """Sum the scores up."""
    known = [score for score in scores if score is not None]
    average = fmean(known) if known else None
    return Answer(
        scores=scores, summary=Summary(total_frames=len(scores), scored_frames=len(known), average_score=average)
    )
