"""Scores to labels and summaries."""

import pytest

from serve_app.predictions import predict_label, summarise

BAND = (0.45, 0.55)


@pytest.mark.parametrize(
    ("score", "label", "confidence"), [(0.78, "fake", 0.56), (0.45, "real", 0.1), (0.5, "real", 0), (1.0, "fake", 1)]
)
def test_label_and_confidence_follow_the_score(score: float, label: str, confidence: float) -> None:
    """The seed's own examples, and the edges."""
    prediction = predict_label(score, threshold=0.5)
    assert prediction.label == label
    assert prediction.confidence == pytest.approx(confidence)


def test_the_summary_counts_scored_frames_only() -> None:
    """Three frames, two scores."""
    predictions = [predict_label(score, threshold=0.5) for score in (0.9, 0.3)]
    summary = summarise(predictions, n_frames=3, threshold=0.5, uncertain_band=BAND)
    assert (summary.total_frames, summary.scored_frames, summary.failed_frames) == (3, 2, 1)
    assert (summary.fake_count, summary.real_count, summary.verdict) == (1, 1, "fake")
    assert summary.average_score == pytest.approx(0.6)
    assert summary.score_std == pytest.approx(0.3)


def test_a_verdict_at_the_callers_threshold(  # the band belongs to the model, the threshold may be the caller's
) -> None:
    """Outside the band the mean is held against the threshold."""
    predictions = [predict_label(0.7, threshold=0.8)]
    assert summarise(predictions, n_frames=1, threshold=0.8, uncertain_band=BAND).verdict == "real"
