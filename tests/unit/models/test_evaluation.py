"""The metrics, against values worked out by hand."""

import numpy as np
import pytest

from serve_app.models.evaluation import (
    auc,
    brier,
    ece,
    eer,
    log_loss,
    simulated_metrics,
    tpr_at_fpr,
)

LABELS = np.array([0.0, 0.0, 1.0, 1.0])
SCORES = np.array([0.1, 0.4, 0.35, 0.8])


def test_auc_is_the_share_of_pairs_in_the_right_order() -> None:
    """Three of the four pairs here; a tie counts half."""
    assert auc(LABELS, SCORES) == pytest.approx(0.75)
    assert auc(LABELS, np.full(4, 0.5)) == pytest.approx(0.5)
    assert auc(LABELS, LABELS) == pytest.approx(1.0)


def test_rates_at_a_threshold() -> None:
    """No false accusation allows only the fake above every real."""
    assert tpr_at_fpr(LABELS, SCORES, 0.01) == pytest.approx(0.5)
    assert tpr_at_fpr(LABELS, SCORES, 0.5) == pytest.approx(1.0)
    assert eer(LABELS, SCORES) == pytest.approx(0.5)
    assert eer(LABELS, LABELS) == pytest.approx(0.0)


def test_brier_and_log_loss() -> None:
    """By their formulas."""
    assert brier(LABELS, SCORES) == pytest.approx((0.01 + 0.16 + 0.4225 + 0.04) / 4)
    assert log_loss(LABELS, SCORES) == pytest.approx(-np.log([0.9, 0.6, 0.35, 0.8]).mean())


def test_certainty_that_is_wrong_costs_a_finite_log_loss() -> None:
    """A score of exactly 0 or 1 does not blow it up."""
    assert np.isfinite(log_loss(LABELS, 1.0 - LABELS))


def test_ece_is_zero_for_honest_scores_and_not_for_boasts() -> None:
    """Scores of 0.7 of which 7 in 10 are fakes are honest."""
    labels = np.repeat([1.0, 0.0], [7, 3])
    assert ece(labels, np.full(10, 0.7)) == pytest.approx(0.0)
    assert ece(labels, np.full(10, 1.0)) == pytest.approx(0.3)


def test_every_name_says_that_it_was_simulated() -> None:
    """So that nobody quotes one as measured on deepfakes."""
    metrics = simulated_metrics(LABELS, SCORES, np.array(["real", "real", "gaze", "mouth"]))
    assert all(name.endswith("_simulated") for name in metrics)
    assert (metrics["auc_gaze_simulated"], metrics["auc_mouth_simulated"]) == (0.5, 1.0)
