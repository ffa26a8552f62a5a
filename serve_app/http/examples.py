"""An answer to ``include=reasons`` as the documentation shows it: one frame of a fake, one without a face."""

from serve_app.http.contract import BatchBody, FrameBody, PredictionBody, ReasonBody, SummaryBody
from serve_app.predictions import ReasonGroup
from serve_app.settings import DEFAULT_MODEL

_CONTRIBUTIONS: dict[ReasonGroup, float] = {
    "gaze": 8.41,
    "mouth": 0.62,
    "eyes": -0.38,
    "face_shape": 0.21,
    "outline": -0.13,
    "head_pose": 0.11,
    "nose": -0.05,
    "brows": 0.03,
}

ANSWER = BatchBody(
    status="partial",
    session_id="video_123",
    frames_processed=2,
    predictions=[
        FrameBody(
            frame_id=0,
            csv_source="frame_0000.csv",
            feature_count=674,
            prediction=PredictionBody(score=0.93, label="fake", confidence=0.86),
            model=DEFAULT_MODEL,
            status="ok",
            error=None,
            orientation=1,
            out_of_distribution=False,
            reasons=[ReasonBody(group=group, contribution=value) for group, value in _CONTRIBUTIONS.items()],
        ),
        FrameBody(
            frame_id=1,
            csv_source="frame_0001.csv",
            feature_count=0,
            prediction=None,
            model=DEFAULT_MODEL,
            status="no_face",
            error="no face was found in this frame",
            orientation=1,
            out_of_distribution=None,
        ),
    ],
    summary=SummaryBody(
        total_frames=2,
        fake_count=1,
        real_count=0,
        average_score=0.93,
        model_used=DEFAULT_MODEL,
        scored_frames=1,
        failed_frames=1,
        threshold=0.5,
        verdict="fake",
        score_std=0.0,
        model_version=1,
        out_of_distribution_count=0,
    ),
    cleanup="Deleted 2 CSV files",
    output_dir=None,
)
