"""Bootstrap intervals: they hold the truth as often as they say, and rows of one group move together."""

from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import pytest

from serve_app.models.resampling import Rates, Resamples

Float64 = npt.NDArray[np.float64]

N_TRIALS = 100
SEPARATION = 1.5
TRUE_AUC = NormalDist().cdf(SEPARATION / 2.0)  # of two Gaussians of variance 2 (row and group), SEPARATION apart


def covered(trial: int, *, by_group: bool) -> bool:
    """Draw 60 videos of 5 frames whose scores resemble each other, and see whether the interval holds the truth."""
    rng = np.random.default_rng(trial)
    groups = np.repeat(np.arange(60), 5)
    labels = (groups % 2).astype(np.float64)
    scores = SEPARATION * labels + rng.normal(size=60)[groups] + rng.normal(size=300)
    resamples = Resamples.draw(groups if by_group else np.arange(300), seed=trial, n_resamples=200)
    estimate = resamples.estimate(lambda weights: Rates.of(labels, scores, weights).auc()[:, None])
    return bool(estimate[1, 0] <= TRUE_AUC <= estimate[2, 0])


def test_a_group_interval_holds_the_truth() -> None:
    """In nine of ten experiments at least (95 % in theory)."""
    assert sum(covered(trial, by_group=True) for trial in range(N_TRIALS)) >= 0.9 * N_TRIALS


def test_an_interval_over_rows_would_be_too_narrow() -> None:
    """Which is why groups are drawn: frames of one video are no independent witnesses."""
    assert sum(covered(trial, by_group=False) for trial in range(N_TRIALS)) < 0.85 * N_TRIALS


def test_weights_are_repetitions() -> None:
    """A row that counts twice is as good as two rows."""
    labels, scores = np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.1, 0.3, 0.3, 0.7])
    weights = np.array([[2.0, 1.0, 0.0, 3.0], [1.0, 2.0, 1.0, 0.0]])
    for row, rates in zip(weights, zip(*_measures(labels, scores, weights), strict=True), strict=True):
        repeated = np.repeat(np.arange(4), row.astype(int))
        alone = _measures(labels[repeated], scores[repeated], np.ones((1, len(repeated))))
        assert rates == pytest.approx([values[0] for values in alone])


def test_a_resample_that_lacks_a_class_does_not_count() -> None:
    """Of two videos, one of each class, half of the resamples have no AUC."""
    labels, scores = np.array([0.0, 1.0]), np.array([0.2, 0.6])
    resamples = Resamples.draw(np.array([7, 9]), seed=0, n_resamples=50)
    assert (resamples.counts == 0).any()
    estimate = resamples.estimate(lambda weights: Rates.of(labels, scores, weights).auc()[:, None])
    assert estimate.ravel().tolist() == [1.0, 1.0, 1.0]


def _measures(labels: Float64, scores: Float64, weights: Float64) -> list[Float64]:
    rates = Rates.of(labels, scores, weights)
    return [rates.auc(), rates.eer(), rates.tpr_at(np.array([0.5]))[:, 0]]
