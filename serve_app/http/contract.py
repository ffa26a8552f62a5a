"""The JSON a client sees: the seed's fields first, in its order, then what was added beside them."""

from dataclasses import replace
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from serve_app.errors import FrameStatus
from serve_app.features.schema import FEATURE_COUNT, FEATURE_SLICES
from serve_app.features.table import FaceFeatures
from serve_app.pipeline import FrameOutcome
from serve_app.predictions import (
    REASON_GROUPS,
    Label,
    ModelDescription,
    Prediction,
    ReasonGroup,
    Summary,
    Verdict,
    predict_label,
)
from serve_app.settings import Backend

Include = Literal["landmarks", "features", "pose", "reasons"]
AnswerStatus = Literal["success", "partial", "failed"]
_SCORE_DIGITS = 6  # a float32 holds 7


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True, protected_namespaces=())


class PredictionBody(_Body):
    """``score`` = P(fake); ``confidence`` = |score - 0.5| * 2."""

    score: float
    label: Label
    confidence: float


class PoseBody(_Body):
    """The head in camera coordinates: X right, Y down, Z away; rotation = Rx * Ry * Rz."""

    translation_mm: tuple[float, float, float]
    rotation_rad: tuple[float, float, float]


class ReasonBody(_Body):
    """What one part of the face adds to the logit of P(fake), before calibration; below 0 it speaks for a real face."""

    group: ReasonGroup
    contribution: float


class FrameBody(_Body):
    """One frame; ``prediction`` is null where ``status`` is not ``ok``, and ``error`` says why."""

    frame_id: int
    csv_source: str
    feature_count: int
    prediction: PredictionBody | None
    model: str
    status: FrameStatus
    error: str | None
    orientation: int | None = Field(description="EXIF orientation it was turned upright by; 1: none; null: no CSV")
    out_of_distribution: bool | None = Field(
        description="true: the model knows no such face, or too much of it is cut off; its score means little. "
        "null: no score, or a model that cannot tell"
    )
    landmarks: list[tuple[float, float]] | None = Field(default=None, description="68 (x, y), px; include=landmarks")
    features: list[float] | None = Field(default=None, description="674 values in /models/{name} order")
    pose: PoseBody | None = Field(default=None, description="include=pose")
    reasons: list[ReasonBody] | None = Field(
        default=None,
        description="include=reasons: what drove the score, largest first; together the logit less a typical face's. "
        "null: a model that cannot tell; absent without a face",
    )


class SummaryBody(_Body):
    """The scored frames together."""

    total_frames: int
    fake_count: int
    real_count: int
    average_score: float | None
    model_used: str
    scored_frames: int
    failed_frames: int
    threshold: float
    verdict: Verdict
    score_std: float | None
    model_version: int
    out_of_distribution_count: int | None = Field(description="of the scored frames; most of them: verdict uncertain")


class BatchBody(_Body):
    """The answer to ``POST /batch/predict``."""

    status: AnswerStatus
    session_id: str
    frames_processed: int
    predictions: list[FrameBody]
    summary: SummaryBody
    cleanup: str
    output_dir: str | None


class HealthBody(_Body):
    """What runs, and with what."""

    status: Literal["healthy", "starting"]
    openface_binary: str
    openface_available: bool
    temp_dir: str
    output_dir: str
    batch_size: int
    backend: Backend | None
    models: list[str]
    version: str
    replicas: dict[str, int]


class ModelBody(_Body):
    """One loaded model, and what is known of it."""

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


class ModelDetailBody(ModelBody):
    """One loaded model with its card and the order of its features."""

    features: list[str]
    card: str


class ModelsBody(_Body):
    """All loaded models."""

    models: list[ModelBody]


class ProblemBody(_Body):
    """A refused request (RFC 9457); ``error`` repeats ``detail`` for clients of the first sketch."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    error: str


def frame_body(
    outcome: FrameOutcome, *, model: ModelDescription, threshold: float, include: frozenset[Include]
) -> FrameBody:
    """Say how one frame ended."""
    prediction = frame_prediction(outcome, threshold=threshold)
    body = FrameBody(
        frame_id=outcome.frame.frame_id,
        csv_source=outcome.frame.csv_name,
        feature_count=FEATURE_COUNT if outcome.face else 0,
        prediction=PredictionBody.model_validate(prediction) if prediction else None,
        model=model.name,
        status=outcome.error.status if outcome.error else "ok",
        error=str(outcome.error) if outcome.error else None,
        orientation=outcome.orientation,
        out_of_distribution=prediction.is_out_of_distribution if prediction else None,
    )
    return body.model_copy(update=_included(outcome, outcome.face, include)) if outcome.face else body


def frame_prediction(outcome: FrameOutcome, *, threshold: float) -> Prediction | None:
    """Label a scored frame, with the score as it is shown, so that a client can check the rest by it."""
    if outcome.score is None:
        return None
    prediction = predict_label(round(outcome.score, _SCORE_DIGITS), threshold=threshold)
    confidence = round(prediction.confidence, _SCORE_DIGITS)
    return replace(prediction, confidence=confidence, is_out_of_distribution=outcome.is_out_of_distribution)


def summary_body(summary: Summary, model: ModelDescription) -> SummaryBody:
    """Round the means as the scores are."""
    return SummaryBody(
        total_frames=summary.total_frames,
        fake_count=summary.fake_count,
        real_count=summary.real_count,
        average_score=_rounded(summary.average_score),
        model_used=model.name,
        scored_frames=summary.scored_frames,
        failed_frames=summary.failed_frames,
        threshold=summary.threshold,
        verdict=summary.verdict,
        score_std=_rounded(summary.score_std),
        model_version=model.version,
        out_of_distribution_count=summary.out_of_distribution_count,
    )


def answer_status(summary: Summary) -> AnswerStatus:
    """``success`` when every frame has a score, ``failed`` when none has."""
    if summary.failed_frames == 0:
        return "success"
    return "partial" if summary.scored_frames else "failed"


def _rounded(mean: float | None) -> float | None:
    return None if mean is None else round(mean, _SCORE_DIGITS)


def _included(outcome: FrameOutcome, face: FaceFeatures, include: frozenset[Include]) -> dict[str, object]:
    """The parts a caller asked for; absent keys stay unset and are left out of the JSON."""
    parts: dict[str, object] = {}
    if "landmarks" in include:
        x, y = face.features[FEATURE_SLICES["landmarks_2d"]].reshape(2, -1).tolist()
        parts["landmarks"] = list(zip(x, y, strict=True))
    if "features" in include:
        parts["features"] = face.features.tolist()
    if "pose" in include:
        translation = face.features[FEATURE_SLICES["pose_translation"]].tolist()
        rotation = face.features[FEATURE_SLICES["pose_rotation"]].tolist()
        parts["pose"] = PoseBody(translation_mm=tuple(translation), rotation_rad=tuple(rotation))
    if "reasons" in include:
        parts["reasons"] = None if outcome.contributions is None else _reasons(outcome.contributions)
    return parts


def _reasons(contributions: tuple[float, ...]) -> list[ReasonBody]:
    reasons = [
        ReasonBody(group=group, contribution=round(contribution, _SCORE_DIGITS))
        for group, contribution in zip(REASON_GROUPS, contributions, strict=True)
    ]
    return sorted(reasons, key=lambda reason: -abs(reason.contribution))
