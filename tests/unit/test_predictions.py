"""Scores to labels and summaries."""

from dataclasses import astuple, replace

import numpy as np
import pytest

from serve_app.predictions import RowScores, predict_label, summarise

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


@pytest.mark.parametrize(
    ("flags", "count", "verdict"),
    [
        ([None, None, None], None, "fake"),
        ([False, False, False], 0, "fake"),
        ([True, False, False], 1, "fake"),
        ([True, True, False], 2, "uncertain"),
        ([True, None, False], 1, "fake"),
    ],
)
def test_most_frames_out_of_distribution_are_uncertain(
    flags: list[bool | None], count: int | None, verdict: str
) -> None:
    """However high their mean; and what no model told of is not counted as none."""
    predictions = [replace(predict_label(0.99, threshold=0.5), is_out_of_distribution=flag) for flag in flags]
    summary = summarise(predictions, n_frames=4, threshold=0.5, uncertain_band=BAND)
    assert (summary.out_of_distribution_count, summary.verdict) == (count, verdict)


def row_scores(*scores: float, with_rest: bool = True) -> RowScores:
    column = np.array(scores, np.float32)
    return RowScores(column, column * 2, np.outer(column, np.ones(8, np.float32))) if with_rest else RowScores(column)


@pytest.mark.parametrize("with_rest", [True, False])
def test_row_scores_join_what_was_cut(with_rest: bool) -> None:
    """In the rows' order, with all that was said of each."""
    whole = row_scores(0.1, 0.2, 0.3, with_rest=with_rest)
    again = RowScores.join([whole[:1], whole[1:]])
    assert (len(whole[:1]), len(whole[1:]), len(again)) == (1, 2, 3)
    for part, joined in zip(astuple(whole), astuple(again), strict=True):
        np.testing.assert_array_equal(part, joined)
    assert (again.novelty is not None) is with_rest


def test_a_verdict_at_the_callers_threshold(  # the band belongs to the model, the threshold may be the caller's
) -> None:
    """Outside the band the mean is held against the threshold."""
    predictions = [predict_label(0.7, threshold=0.8)]
    assert summarise(predictions, n_frames=1, threshold=0.8, uncertain_band=BAND).verdict == "real"
