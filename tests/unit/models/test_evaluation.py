"""The metrics, against values worked out by hand, and what an evaluation makes of them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.errors import RowsUnusable
from serve_app.features.schema import FEATURE_COLUMNS
from serve_app.models.evaluation import (
    Estimate,
    ScoredRows,
    auc,
    brier,
    ece,
    eer,
    evaluate,
    flat_metrics,
    log_loss,
    sigmoid,
    tpr_at_fpr,
    yaw_deg_of,
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


def scored_rows(*, seed: int = 0, n_groups: int = 150) -> ScoredRows:
    """Draw four rows of each group: two real, one swapped (plain to see), one with a foreign mouth (hardly)."""
    rng = np.random.default_rng(seed)
    families = np.tile(["real", "real", "face_swap", "mouth"], n_groups)
    shift = np.select([families == "face_swap", families == "mouth"], [4.0, 0.5], default=0.0)
    return ScoredRows(
        scores=sigmoid(rng.normal(shift - 1.0)),
        labels=(families != "real").astype(np.float32),
        families=families,
        groups=np.repeat(np.arange(n_groups), 4),
        yaw_deg=rng.uniform(-25.0, 25.0, 4 * n_groups),
    )


@given(st.lists(st.tuples(st.booleans(), st.integers(-50, 50)), min_size=2, max_size=40))
def test_auc_knows_only_the_order(rows: list[tuple[bool, int]]) -> None:
    """Any rising map of the scores leaves it as it is, and turning them round mirrors it."""
    labels = np.array([0.0, 1.0, *(label for label, _ in rows[2:])])
    scores = np.array([score for _, score in rows], np.float64)
    assert auc(labels, np.arctan(scores) ** 3) == pytest.approx(auc(labels, scores))
    assert auc(labels, -scores) == pytest.approx(1.0 - auc(labels, scores))


def test_an_evaluation_is_the_metrics_with_intervals() -> None:
    """Each value is that of the metric alone, within its interval."""
    rows = scored_rows()
    metrics = evaluate(rows).metrics
    alone = {metric.__name__: metric(rows.labels, rows.scores) for metric in (auc, eer, log_loss, brier, ece)}
    alone["tpr_at_fpr_1pct"] = tpr_at_fpr(rows.labels, rows.scores, 0.01)
    alone["tpr_at_fpr_5pct"] = tpr_at_fpr(rows.labels, rows.scores, 0.05)
    assert {name: estimate.value for name, estimate in metrics.items()} == pytest.approx(alone)
    assert all(estimate.low < estimate.value < estimate.high for estimate in metrics.values())


def test_the_ece_is_in_the_middle_of_its_interval() -> None:
    """Of honest scores it is all sampling noise, and more of it must not lift the interval above the value."""
    rng = np.random.default_rng(0)
    scores = rng.random(1000)
    labels = (rng.random(1000) < scores).astype(np.float64)
    rows = ScoredRows(scores, labels, np.full(1000, "any"), np.arange(1000), np.zeros(1000))
    estimate = evaluate(rows).metrics["ece"]
    assert estimate.value - estimate.low == pytest.approx(estimate.high - estimate.value, rel=0.5)


def test_each_family_is_held_against_all_reals() -> None:
    """The plain one scores better than the hidden one."""
    rows = scored_rows()
    by_family = evaluate(rows).by_family
    among = (rows.labels == 0) | (rows.families == "mouth")
    assert by_family["mouth"].value == pytest.approx(auc(rows.labels[among], rows.scores[among]))
    assert by_family["mouth"].high < 0.8
    assert by_family["face_swap"].low > 0.95


def test_poses_are_binned_by_how_far_the_head_is_turned() -> None:
    """To either side; a bin without both classes is left out."""
    rows = scored_rows()
    by_pose = evaluate(rows).by_pose
    turned = (np.abs(rows.yaw_deg) >= 10.0) & (np.abs(rows.yaw_deg) < 20.0)
    assert list(by_pose) == ["0-10", "10-20", "20-30"]
    assert by_pose["10-20"].value == pytest.approx(auc(rows.labels[turned], rows.scores[turned]))


def test_the_curves_agree_with_the_metrics() -> None:
    """The ROC rises through its band; the reliability bins hold every row and give the ECE back."""
    rows = scored_rows()
    evaluation = evaluate(rows)
    roc, bins = evaluation.roc, evaluation.reliability
    assert (np.diff(roc.tpr) >= 0.0).all()
    assert np.interp(0.05, roc.fpr, roc.tpr) == pytest.approx(evaluation.metrics["tpr_at_fpr_5pct"].value)
    assert ((roc.tpr_low <= roc.tpr) & (roc.tpr <= roc.tpr_high)).all()
    gaps = bins.count * np.abs(bins.score - bins.share)
    assert gaps.sum() / len(rows) == pytest.approx(evaluation.metrics["ece"].value)


def test_the_seed_decides_the_intervals() -> None:
    """And the values not at all."""
    first, again, other = (evaluate(scored_rows(), seed=seed).metrics["auc"] for seed in (3, 3, 4))
    assert first == again
    assert first.value == other.value
    assert (first.low, first.high) != (other.low, other.high)


def test_one_class_is_no_evaluation() -> None:
    """The message says what is missing."""
    rows = replace(scored_rows(), labels=np.zeros(600))
    with pytest.raises(RowsUnusable, match="cannot evaluate: none of the 600 rows is fake"):
        evaluate(rows)


@pytest.mark.parametrize("score", [1.5, float("nan")])
def test_logits_are_not_taken_for_scores(score: float) -> None:
    """Calibration metrics of anything but probabilities would be nonsense."""
    rows = scored_rows()
    scores = rows.scores.copy()
    scores[[7, 9]] = score
    with pytest.raises(RowsUnusable, match=rf"2 of 600 scores .* {score} in row 7"):
        evaluate(replace(rows, scores=scores))


def test_manifest_metrics_name_what_they_were_measured_on() -> None:
    """Value, bounds and families, each with the suffix."""
    evaluation = replace(evaluate(scored_rows()), metrics={"auc": Estimate(0.91234, 0.9, 0.92)})
    metrics = flat_metrics(evaluation, "_simulated")
    assert metrics["auc_simulated"] == 0.9123
    assert (metrics["auc_simulated_low"], metrics["auc_simulated_high"]) == (0.9, 0.92)
    assert metrics["auc_mouth_simulated_low"] < metrics["auc_mouth_simulated"] < metrics["auc_mouth_simulated_high"]


def test_yaw_is_read_in_degrees() -> None:
    """From the head's rotation about the vertical axis."""
    features = np.zeros((2, len(FEATURE_COLUMNS)), np.float32)
    features[:, FEATURE_COLUMNS.index("pose_Ry")] = (0.5, -0.1)
    assert yaw_deg_of(features) == pytest.approx(np.rad2deg([0.5, -0.1]))
