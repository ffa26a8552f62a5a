"""How good scores are: discrimination, calibration, and the temperature that calibrates them.

``labels`` are ``(n,)``, 0 real and 1 fake; ``scores`` are P(fake), ``(n,)`` in 0..1; both classes must occur.
"""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]

_ECE_BINS = 15  # Guo et al., "On Calibration of Modern Neural Networks" (2017), arXiv 1706.04599


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


def fit_temperature(labels: Array, logits: Array) -> float:
    """Find the temperature that makes ``sigmoid(logits / temperature)`` most likely (Guo et al. 2017)."""
    low, high = np.log(0.05), np.log(20.0)
    for _ in range(60):  # ternary search: the loss is convex in 1 / temperature, so unimodal
        left, right = low + (high - low) / 3.0, high - (high - low) / 3.0
        losses = [log_loss(labels, sigmoid(logits / np.exp(at))) for at in (left, right)]
        low, high = (low, right) if losses[0] < losses[1] else (left, high)
    return float(np.exp((low + high) / 2.0))


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
