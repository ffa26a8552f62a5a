"""Scores to labels, and a request's frames to its summary."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import Literal, Self, get_args

import numpy as np
import numpy.typing as npt

from serve_app.settings import Backend

Label = Literal["fake", "real"]
Verdict = Literal["fake", "real", "uncertain", "not_applicable"]
ReasonGroup = Literal["gaze", "eyes", "brows", "nose", "mouth", "outline", "face_shape", "head_pose"]

REASON_GROUPS: tuple[ReasonGroup, ...] = get_args(ReasonGroup)
"""The parts of a face that a score is explained by."""


@dataclass(frozen=True)
class ModelDescription:
    """What is known of a loaded model outside the predictor; ``uncertain_band`` is (low, high) around ``threshold``."""

    name: str
    version: int
    architecture: str
    backend: Backend
    feature_count: int
    threshold: float
    uncertain_band: tuple[float, float]
    calibration: str
    metrics: dict[str, float]
    license: str
    sha256: str
    card: str


@dataclass(frozen=True, eq=False)
class RowScores:
    """What a model says of ``n`` rows of features; None where it cannot say, or was not asked.

    ``scores`` ``(n,) float32`` are P(fake). ``novelty`` ``(n,) float32`` is how far each row lies from the model's
    training, in units of what is still known there: above 1 it is out of distribution. ``contributions`` ``(n, 8)
    float32``, of each of ``REASON_GROUPS``, sum to the row's logit less that of a typical face.
    """

    scores: npt.NDArray[np.float32]
    novelty: npt.NDArray[np.float32] | None = None
    contributions: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, rows: slice) -> Self:
        """Take some of the rows."""
        return type(self)(
            self.scores[rows],
            None if self.novelty is None else self.novelty[rows],
            None if self.contributions is None else self.contributions[rows],
        )

    @classmethod
    def join(cls, parts: Sequence["RowScores"]) -> "RowScores":
        """Put together what one model said of several batches: of all of them it says the same things."""
        novelty = [part.novelty for part in parts if part.novelty is not None]
        contributions = [part.contributions for part in parts if part.contributions is not None]
        return cls(
            np.concatenate([part.scores for part in parts]),
            np.concatenate(novelty) if novelty else None,
            np.concatenate(contributions) if contributions else None,
        )


@dataclass(frozen=True)
class Prediction:
    """One frame's score = P(fake), its label at the threshold, and confidence = |score - 0.5| * 2.

    ``is_out_of_distribution`` says that the score means little: the model knows no such face; None: it cannot tell.
    """

    score: float
    label: Label
    confidence: float
    is_out_of_distribution: bool | None = None


@dataclass(frozen=True)
class Summary:
    """The request as a whole; only scored frames count, and means are None where there is none.

    ``out_of_distribution_count`` is None where the model cannot tell.
    """

    total_frames: int
    fake_count: int
    real_count: int
    average_score: float | None
    score_std: float | None
    scored_frames: int
    failed_frames: int
    threshold: float
    verdict: Verdict
    out_of_distribution_count: int | None


def predict_label(score: float, *, threshold: float) -> Prediction:
    """Label a score in 0..1: fake strictly above the threshold."""
    return Prediction(score, "fake" if score > threshold else "real", abs(score - 0.5) * 2)


def summarise(
    predictions: Sequence[Prediction], *, n_frames: int, threshold: float, uncertain_band: tuple[float, float]
) -> Summary:
    """Summarise the scored frames of a request of ``n_frames``; the plain mean decides (docs/adr/0003-pooling.md).

    Where most of the scored frames are out of distribution, their mean decides nothing: the verdict is uncertain.
    """
    scores = [prediction.score for prediction in predictions]
    average_score = fmean(scores) if scores else None
    fake_count = sum(prediction.label == "fake" for prediction in predictions)
    strange = [flag for prediction in predictions if (flag := prediction.is_out_of_distribution) is not None]
    most_are_strange = 2 * sum(strange) > len(scores)
    return Summary(
        total_frames=n_frames,
        fake_count=fake_count,
        real_count=len(scores) - fake_count,
        average_score=average_score,
        score_std=pstdev(scores) if scores else None,
        scored_frames=len(scores),
        failed_frames=n_frames - len(scores),
        threshold=threshold,
        verdict="uncertain" if most_are_strange else _verdict(average_score, threshold, uncertain_band),
        out_of_distribution_count=sum(strange) if strange else None,
    )


def _verdict(average_score: float | None, threshold: float, uncertain_band: tuple[float, float]) -> Verdict:
    if average_score is None:
        return "not_applicable"
    low, high = uncertain_band
    if low <= average_score <= high:
        return "uncertain"
    return "fake" if average_score > threshold else "real"
