"""In-memory stages that behave as the deployments do: what an image says is what happens to it."""

import asyncio
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from serve_app.errors import ExtractionFailed, FrameError, ReplicaLost
from serve_app.features.schema import FEATURE_COLUMNS
from serve_app.features.table import FaceFeatures, read_faces, write_face
from serve_app.frames import ExtractedFrame
from serve_app.pipeline import Extraction
from serve_app.predictions import REASON_GROUPS, ModelDescription, RowScores
from serve_app.settings import Backend

MODEL = ModelDescription(
    name="mobilenetv2_celebv2",
    version=3,
    architecture="inverted-residual-1d",
    backend="facemesh",
    feature_count=674,
    threshold=0.5,
    uncertain_band=(0.45, 0.55),
    calibration="temperature",
    metrics={"auc_simulated": 0.97},
    license="Apache-2.0",
    sha256="0" * 64,
    card="# A card",
)
_JPEG = b"\xff\xd8\xff"
_SCORE_COLUMN, _NOVELTY_COLUMN = "p_0", "p_1"  # three decimals: the CSV carries them from image to predictor


def image(score: float, novelty: float = 0.0) -> bytes:
    """An upload that will score so."""
    return _JPEG + f"score {novelty} {score}".encode()


NO_FACE = _JPEG + b"no face"
UNSURE = _JPEG + b"unsure"
BREAKS_EXTRACTOR = _JPEG + b"breaks"
KILLS_REPLICA = _JPEG + b"kills"
TRUNCATED_CSV = _JPEG + b"truncated"
HANGS = _JPEG + b"hangs"


@dataclass
class StageExtractor:
    """Writes the CSV that the image asks for."""

    calls: list[list[bytes]] = field(default_factory=list)
    cancelled: int = 0
    deaths_left: int = 10**9
    called: asyncio.Event = field(default_factory=asyncio.Event)

    n_replicas: int = 8
    frame_s: float = 0.02

    async def replicas(self) -> int:
        return self.n_replicas

    async def extract(self, images: list[bytes]) -> Extraction:
        self.calls.append(images)
        self.called.set()
        if KILLS_REPLICA in images and self.deaths_left:
            self.deaths_left -= 1
            raise ReplicaLost("a replica died")
        if HANGS in images:
            try:
                await asyncio.sleep(60)
            finally:
                self.cancelled += 1
        return Extraction("facemesh", [_extracted(content) for content in images], self.frame_s)


class StageParser:
    """The real table reader, without a deployment around it."""

    async def parse(self, csvs: list[bytes]) -> list[FaceFeatures | FrameError]:
        return read_faces(csvs, min_confidence=0.725)


@dataclass
class StagePredictor:
    """Reads the score and the novelty back from the features; each reason is the score times its place, from 0."""

    knows_novelty: bool = True
    batches: list[int] = field(default_factory=list)

    async def predict(
        self, model_name: str, backend: Backend, features: npt.NDArray[np.float32], with_reasons: bool
    ) -> RowScores:
        self.batches.append(len(features))
        scores, novelty = (features[:, FEATURE_COLUMNS.index(name)] for name in (_SCORE_COLUMN, _NOVELTY_COLUMN))
        reasons = np.outer(scores, np.arange(len(REASON_GROUPS))).astype(np.float32)
        return RowScores(scores, novelty if self.knows_novelty else None, reasons if with_reasons else None)


def _extracted(content: bytes) -> ExtractedFrame | FrameError:
    if content == BREAKS_EXTRACTOR:
        return ExtractionFailed("the extractor failed on this frame")
    return ExtractedFrame(_csv(content), orientation=1)


def _csv(content: bytes) -> bytes:
    if content == NO_FACE:
        return write_face({"confidence": 0.0, "success": 0.0})
    if content == UNSURE:
        return write_face({"confidence": 0.3, "success": 1.0})
    novelty, score = _asked(content)
    face = write_face(
        {"confidence": 0.98, "success": 1.0, _SCORE_COLUMN: score, _NOVELTY_COLUMN: novelty, "x_1": 7.5, "y_1": 8.5}
    )
    return face[:-30] if content == TRUNCATED_CSV else face


def _asked(content: bytes) -> list[float]:
    return [float(word) for word in content.split()[-2:]] if b"score" in content else [0.0, 0.0]
