"""Resampling: the same rows counted many times over, and the error rates of every count, from one sort.

``weights`` are ``(r, n)``: how often each of ``n`` rows counts in each of ``r`` resamples.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]
Float64 = npt.NDArray[np.float64]

_CHUNK_CELLS = 1 << 19  # resamples times rows measured at once: some 30 MB
_INTERVAL_PCT = (2.5, 97.5)


@dataclass(frozen=True)
class Resamples:
    """How often each group counts: ``counts`` ``(1 + r, n_groups)``, every group once in the first of them.

    ``member`` ``(n,)`` is each row's group, as a column of ``counts``.
    """

    counts: npt.NDArray[np.int64]
    member: npt.NDArray[np.intp]

    @classmethod
    def draw(cls, groups: npt.NDArray[np.integer], *, seed: int, n_resamples: int) -> Self:
        """Draw, for each resample, as many of the rows' ``groups`` ``(n,)`` as there are, with replacement."""
        distinct, member = np.unique(groups, return_inverse=True)
        n_groups = len(distinct)
        drawn = np.random.default_rng(seed).multinomial(n_groups, np.full(n_groups, 1.0 / n_groups), n_resamples)
        return cls(np.concatenate([np.ones((1, n_groups), np.int64), drawn]), member)

    def estimate(
        self, measure: Callable[[Float64], Float64], part: npt.NDArray[np.bool_] | slice = slice(None)
    ) -> Float64:
        """Apply ``measure``, weights ``(r, m)`` to values ``(r, k)``, to all rows, or to those of a mask ``(n,)``.

        The result is ``(3, k)``: the values, and their lower and upper 95 % bounds (percentile bootstrap; Efron 1979).
        Resamples in which a value is NaN, since they lack a class or a bin, do not count.
        """
        member = self.member[part]
        step = max(_CHUNK_CELLS // len(member), 1)
        values = np.concatenate(
            [
                measure(self.counts[start : start + step][:, member].astype(np.float64))
                for start in range(0, len(self.counts), step)
            ]
        )
        return np.stack([values[0], *np.nanpercentile(values[1:], _INTERVAL_PCT, axis=0)])


@dataclass(frozen=True)
class Rates:
    """False and true positive rates, ``(r, k)`` in 0..1, at every distinct threshold, from the strictest on.

    They are NaN in resamples that lack a class.
    """

    fpr: Float64
    tpr: Float64

    @classmethod
    def of(cls, labels: Array, scores: Array, weights: Float64) -> Self:
        """Count ``labels`` ``(n,)``, 0 real and 1 fake, by falling ``scores`` ``(n,)``; ties share a threshold."""
        order = np.argsort(-scores, kind="stable")
        is_last = np.append(np.diff(scores[order]) != 0, True)
        ordered = weights[:, order]
        fpr, tpr = (
            _rising_share(ordered * (labels[order] == label), is_last)
            for label in (0, 1)  # reals, fakes
        )
        lacks_class = np.isnan(fpr[:, 0]) | np.isnan(tpr[:, 0])
        fpr[lacks_class] = tpr[lacks_class] = np.nan
        return cls(fpr, tpr)

    def auc(self) -> Float64:
        """Area under each curve, ``(r,)``: a tie counts half."""
        return np.asarray(np.trapezoid(self.tpr, self.fpr, axis=1))

    def eer(self) -> Float64:
        """Where as many fakes are missed as reals are accused, ``(r,)``, between two thresholds if need be."""
        gap = self.fpr - (1.0 - self.tpr)  # rises from -1 to 1
        after = np.maximum((gap >= 0.0).argmax(axis=1), 1)
        rows = np.arange(len(gap))
        low, high = gap[rows, after - 1], gap[rows, after]
        fpr_low, fpr_high = self.fpr[rows, after - 1], self.fpr[rows, after]
        return np.asarray(fpr_low - low * (fpr_high - fpr_low) / (high - low))

    def tpr_at(self, fpr_limits: Array) -> Float64:
        """Share of fakes found where at most ``fpr_limits`` ``(m,)`` of the reals are accused: ``(r, m)``."""
        return np.stack(
            [
                tpr[np.searchsorted(fpr, fpr_limits, side="right") - 1]
                for fpr, tpr in zip(self.fpr, self.tpr, strict=True)
            ]
        )


def _rising_share(counts: Float64, is_last: npt.NDArray[np.bool_]) -> Float64:
    """Cumulate ``(r, n)`` counts and divide by their sum: ``(r, 1 + k)`` from 0 to 1, NaN where the sum is 0."""
    sums = np.cumsum(counts, axis=1)[:, is_last]
    with np.errstate(invalid="ignore"):
        return np.asarray(np.pad(sums, ((0, 0), (1, 0))) / sums[:, -1:])
