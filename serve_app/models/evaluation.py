"""How good scores are: discrimination and calibration, with bootstrap intervals, per fake family and per head pose.

``labels`` are ``(n,)``, 0 real and 1 fake; ``scores`` are P(fake), ``(n,)`` in 0..1; both classes must occur.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from serve_app.errors import RowsUnusable
from serve_app.features.schema import FEATURE_SLICES
from serve_app.models.resampling import Rates, Resamples

Array = npt.NDArray[np.floating]
Float64 = npt.NDArray[np.float64]

REAL = "real"
"""The family of rows that are not fake."""

POSE_BINS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"0-10": (0.0, 10.0), "10-20": (10.0, 20.0), "20-30": (20.0, 30.0), "30-": (30.0, np.inf)}
)
"""Bins of ``|yaw|`` in degrees, the lower bound included."""

_ECE_BINS = 15  # Guo et al., "On Calibration of Modern Neural Networks" (2017), arXiv 1706.04599
_FPR_LIMITS = {"tpr_at_fpr_1pct": 0.01, "tpr_at_fpr_5pct": 0.05}
_ROC_FPR = np.concatenate([np.linspace(0.0, 0.1, 100, endpoint=False), np.linspace(0.1, 1.0, 91)])


@dataclass(frozen=True)
class ScoredRows:
    """``n`` rows to judge, ``(n,)`` each: ``scores`` P(fake), ``labels`` 0 or 1, ``families`` ("real" for reals).

    ``groups`` is the identity or the video of each row, ``yaw_deg`` the head's yaw in degrees.
    """

    scores: Array
    labels: Array
    families: npt.NDArray[np.str_]
    groups: npt.NDArray[np.integer]
    yaw_deg: Array

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Estimate:
    """A measured value and the bounds of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Roc:
    """Rates ``(k,)`` in 0..1: fakes found (``tpr``, its 95 % band ``tpr_low``..``tpr_high``) at each ``fpr``."""

    fpr: Float64
    tpr: Float64
    tpr_low: Float64
    tpr_high: Float64


@dataclass(frozen=True)
class Reliability:
    """Bins of like scores, ``(k,)`` each: mean ``score``, ``share`` of fakes, its 95 % band, ``count`` of rows > 0."""

    score: Float64
    share: Float64
    share_low: Float64
    share_high: Float64
    count: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Evaluation:
    """What was measured on ``n_rows`` of ``n_groups``; ``by_family`` and ``by_pose`` hold AUCs."""

    n_rows: int
    n_groups: int
    metrics: Mapping[str, Estimate]
    by_family: Mapping[str, Estimate]
    by_pose: Mapping[str, Estimate]
    roc: Roc
    reliability: Reliability


def evaluate(rows: ScoredRows, *, seed: int = 0, n_resamples: int = 500) -> Evaluation:
    """Measure everything, with 95 % percentile intervals of a bootstrap over groups.

    A resample draws as many groups as there are, with replacement, and all rows of each: rows of one identity or
    video resemble each other, and would make the intervals too narrow one by one. The same seed, the same intervals.
    Of a single group they have no width, and of a handful little meaning.

    Raises:
        RowsUnusable: the rows are all real or all fake, or have a score that is not a probability.
    """
    _check(rows)
    resamples = Resamples.draw(rows.groups, seed=seed, n_resamples=n_resamples)
    return Evaluation(
        n_rows=len(rows),
        n_groups=resamples.counts.shape[1],
        metrics=_estimate_metrics(rows, resamples),
        by_family=_estimate_aucs(rows, resamples, _families(rows)),
        by_pose=_estimate_aucs(rows, resamples, _poses(rows)),
        roc=_estimate_roc(rows, resamples),
        reliability=_estimate_reliability(rows, resamples),
    )


def yaw_deg_of(features: npt.NDArray[np.float32]) -> Float64:
    """The head's yaw of ``(n, 674)`` feature rows: ``(n,)``, in degrees."""
    return np.rad2deg(features[:, FEATURE_SLICES["pose_rotation"]][:, 1].astype(np.float64))


def flat_metrics(evaluation: Evaluation, suffix: str) -> dict[str, float]:
    """Name every estimate for a manifest: ``auc{suffix}``, ``auc{suffix}_low``, ``auc{suffix}_high``, and so on.

    A family's AUC is ``auc_{family}{suffix}``. What was measured on simulated rows has the suffix "_simulated".
    """
    families = {f"auc_{family}": estimate for family, estimate in evaluation.by_family.items()}
    return {
        f"{name}{suffix}{bound}": round(value, 4)
        for name, estimate in {**evaluation.metrics, **families}.items()
        for bound, value in (("", estimate.value), ("_low", estimate.low), ("_high", estimate.high))
    }


def require_both_classes(labels: Array, purpose: str) -> None:
    """Refuse rows that are all real or all fake, which ``purpose`` (a verb phrase) cannot do with.

    Raises:
        RowsUnusable: a class is missing.
    """
    n_fakes = int(np.count_nonzero(labels))
    if n_fakes in (0, len(labels)):
        missing = "real" if n_fakes else "fake"
        raise RowsUnusable(f"cannot {purpose}: none of the {len(labels)} rows is {missing}; add some that are")


def auc(labels: Array, scores: Array) -> float:
    """Area under the ROC curve: the chance that a fake scores above a real, ties counting half."""
    return float(_rates(labels, scores).auc()[0])


def eer(labels: Array, scores: Array) -> float:
    """Equal error rate: where as many fakes are missed as reals are accused."""
    return float(_rates(labels, scores).eer()[0])


def tpr_at_fpr(labels: Array, scores: Array, fpr_limit: float) -> float:
    """Share of fakes found where at most ``fpr_limit`` of the reals are accused."""
    return float(_rates(labels, scores).tpr_at(np.array([fpr_limit]))[0, 0])


def brier(labels: Array, scores: Array) -> float:
    """Mean squared distance of scores from labels."""
    return float(np.mean((scores - labels) ** 2))


def log_loss(labels: Array, scores: Array) -> float:
    """Mean negative log-likelihood, in nats."""
    return float(np.mean(_log_losses(labels, scores)))


def ece(labels: Array, scores: Array) -> float:
    """Expected calibration error: how far scores are from the share of fakes among rows scored alike."""
    gaps = np.abs(_one_hot_bins(scores).T @ (scores - labels))
    return float(gaps.sum() / len(labels))


def sigmoid(logits: Array) -> Float64:
    """Turn logits into probabilities."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits.astype(np.float64))))


def _check(rows: ScoredRows) -> None:
    require_both_classes(rows.labels, "evaluate")
    wrong = np.flatnonzero(~((rows.scores >= 0.0) & (rows.scores <= 1.0)))
    if len(wrong):
        raise RowsUnusable(
            f"cannot evaluate: {len(wrong)} of {len(rows)} scores are no probabilities, the first is "
            f"{rows.scores[wrong[0]]} in row {wrong[0]}; pass calibrated scores, not logits"
        )


def _estimate_metrics(rows: ScoredRows, resamples: Resamples) -> dict[str, Estimate]:
    labels, scores = rows.labels.astype(np.float64), rows.scores.astype(np.float64)
    losses = np.stack([_log_losses(labels, scores), (scores - labels) ** 2, _signed_gaps(labels, scores)], axis=1)

    def measure(weights: Float64) -> Float64:
        rates, n_drawn = Rates.of(labels, scores, weights), weights.sum(axis=1, keepdims=True)
        mean_losses = np.maximum(weights @ losses / n_drawn, 0.0)
        return np.column_stack([rates.auc(), rates.eer(), mean_losses, rates.tpr_at(limits)])

    limits = np.array([*_FPR_LIMITS.values()])
    names = ("auc", "eer", "log_loss", "brier", "ece", *_FPR_LIMITS)
    estimates = resamples.estimate(measure)
    return {name: _estimate(column) for name, column in zip(names, estimates.T, strict=True)}


def _estimate_aucs(
    rows: ScoredRows, resamples: Resamples, parts: Mapping[str, npt.NDArray[np.bool_]]
) -> dict[str, Estimate]:
    """The AUC of each named part of the rows, a mask ``(n,)``, that holds both classes."""
    estimates = {}
    for name, part in parts.items():
        labels, scores = rows.labels[part], rows.scores[part]
        if 0 < np.count_nonzero(labels) < len(labels):
            estimates[name] = _estimate(resamples.estimate(partial(_aucs, labels, scores), part)[:, 0])
    return estimates


def _aucs(labels: Array, scores: Array, weights: Float64) -> Float64:
    return Rates.of(labels, scores, weights).auc()[:, None]


def _families(rows: ScoredRows) -> dict[str, npt.NDArray[np.bool_]]:
    """Each family's fakes with all the reals."""
    is_real = rows.labels == 0
    return {str(family): is_real | (rows.families == family) for family in np.unique(rows.families[~is_real])}


def _poses(rows: ScoredRows) -> dict[str, npt.NDArray[np.bool_]]:
    turned_deg = np.abs(rows.yaw_deg)
    return {name: (turned_deg >= low) & (turned_deg < high) for name, (low, high) in POSE_BINS.items()}


def _estimate_roc(rows: ScoredRows, resamples: Resamples) -> Roc:
    def measure(weights: Float64) -> Float64:
        return Rates.of(rows.labels, rows.scores, weights).tpr_at(_ROC_FPR)

    return Roc(_ROC_FPR, *resamples.estimate(measure))


def _estimate_reliability(rows: ScoredRows, resamples: Resamples) -> Reliability:
    one_hot = _one_hot_bins(rows.scores)
    one_hot = one_hot[:, one_hot.any(axis=0)]
    count = one_hot.sum(axis=0)

    def measure(weights: Float64) -> Float64:
        with np.errstate(invalid="ignore"):  # a resample may miss a bin: NaN
            return np.asarray((weights @ (one_hot * (rows.labels == 1)[:, None])) / (weights @ one_hot))

    share, low, high = resamples.estimate(measure)
    return Reliability(rows.scores @ one_hot / count, share, low, high, count.astype(np.int64))


def _estimate(column: Float64) -> Estimate:
    value, low, high = column.tolist()
    return Estimate(value, low, high)


def _rates(labels: Array, scores: Array) -> Rates:
    return Rates.of(labels, scores, np.ones((1, len(labels))))


def _log_losses(labels: Array, scores: Array) -> Float64:
    """The negative log-likelihood of each row, in nats; certainty that is wrong costs 16."""
    clipped = np.clip(scores.astype(np.float64), 1e-7, 1.0 - 1e-7)
    return np.asarray(-(labels * np.log(clipped) + (1.0 - labels) * np.log(1.0 - clipped)))


def _signed_gaps(labels: Array, scores: Array) -> Float64:
    """What each row adds to the ECE, ``(n,)``: its score less its label, turned round in bins that promise too little.

    The mean is the ECE. In resamples the signs stay: with the absolute gaps of each, their noise would add to the
    error, and the interval would lie above the value.
    """
    one_hot, gaps = _one_hot_bins(scores), scores - labels
    return np.asarray(gaps * (one_hot @ np.sign(one_hot.T @ gaps)))


def _one_hot_bins(scores: Array) -> Float64:
    """Which of the equal bins of 0..1 each score is in: ``(n, bins)``, 0 or 1."""
    bins = np.minimum((scores * _ECE_BINS).astype(int), _ECE_BINS - 1)
    return np.asarray(np.eye(_ECE_BINS)[bins])
