"""How good scores are: discrimination and calibration, with bootstrap intervals, per fake family and per head pose.

``labels`` are ``(n,)``, 0 real and 1 fake; ``scores`` are P(fake), ``(n,)`` in 0..1; both classes must occur.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serve_app.errors import RowsUnusable
from serve_app.features.schema import FEATURE_SLICES

Array = npt.NDArray[np.floating]
Float64 = npt.NDArray[np.float64]

REAL = "real"
"""The family of rows that are not fake."""

POSE_BINS: Mapping[str, tuple[float, float]] = {
    "0-10": (0.0, 10.0),
    "10-20": (10.0, 20.0),
    "20-30": (20.0, 30.0),
    "30-": (30.0, np.inf),
}
"""Bins of ``|yaw|`` in degrees, the lower bound included."""

_ECE_BINS = 15  # Guo et al., "On Calibration of Modern Neural Networks" (2017), arXiv 1706.04599
_CHUNK_CELLS = 1 << 20  # resamples times rows that are measured at once: some 50 MB
_ROC_FPR = np.linspace(0.0, 1.0, 201)


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

    Raises:
        RowsUnusable: the rows are all real or all fake, or have a score that is not a probability.
    """
    raise NotImplementedError


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
    fpr, tpr = _roc(labels, scores)
    return float(np.trapezoid(tpr, fpr))


def eer(labels: Array, scores: Array) -> float:
    """Equal error rate: where as many fakes are missed as reals are accused."""
    fpr, tpr = _roc(labels, scores)
    return float(np.interp(0.0, fpr - (1.0 - tpr), fpr))


def tpr_at_fpr(labels: Array, scores: Array, fpr_limit: float) -> float:
    """Share of fakes found where at most ``fpr_limit`` of the reals are accused."""
    fpr, tpr = _roc(labels, scores)
    return float(tpr[fpr <= fpr_limit].max())


def brier(labels: Array, scores: Array) -> float:
    """Mean squared distance of scores from labels."""
    return float(np.mean((scores - labels) ** 2))


def log_loss(labels: Array, scores: Array) -> float:
    """Mean negative log-likelihood, in nats."""
    clipped = np.clip(scores.astype(np.float64), 1e-7, 1.0 - 1e-7)
    return float(-np.mean(labels * np.log(clipped) + (1.0 - labels) * np.log(1.0 - clipped)))


def ece(labels: Array, scores: Array) -> float:
    """Expected calibration error: how far scores are from the share of fakes among rows scored alike."""
    bins = np.minimum((scores * _ECE_BINS).astype(int), _ECE_BINS - 1)
    gaps = np.abs(np.bincount(bins, scores - labels, minlength=_ECE_BINS))
    return float(gaps.sum() / len(labels))


def sigmoid(logits: Array) -> npt.NDArray[np.float64]:
    """Turn logits into probabilities."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits.astype(np.float64))))


def simulated_metrics(labels: Array, scores: Array, families: npt.NDArray[np.str_]) -> dict[str, float]:
    """Measure everything on simulated rows; ``families`` ``(n,)`` says how each fake was made, "real" for reals."""
    metrics = {
        "auc": auc(labels, scores),
        "eer": eer(labels, scores),
        "tpr_at_fpr_1pct": tpr_at_fpr(labels, scores, 0.01),
        "ece": ece(labels, scores),
        "brier": brier(labels, scores),
        "log_loss": log_loss(labels, scores),
    }
    for family in np.unique(families[labels == 1]):
        rows = (labels == 0) | (families == family)
        metrics[f"auc_{family}"] = auc(labels[rows], scores[rows])
    return {f"{name}_simulated": round(value, 4) for name, value in metrics.items()}


def _roc(labels: Array, scores: Array) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """False and true positive rates at every distinct threshold, from the strictest on."""
    order = np.argsort(-scores, kind="stable")
    fakes = np.cumsum(labels[order])
    reals = np.arange(1, len(labels) + 1) - fakes
    is_last = np.append(np.diff(scores[order]) != 0, True)  # equal scores share a threshold
    fpr, tpr = reals[is_last] / reals[-1], fakes[is_last] / fakes[-1]
    return np.append(0.0, fpr), np.append(0.0, tpr)
