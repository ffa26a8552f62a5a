"""Calibration: how a detector's logits become probabilities, and which of these are too near the middle to call.

``labels`` are ``(n,)``, 0 real and 1 fake, of rows that the detector was not trained on.
"""

from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from serve_app.models.evaluation import log_loss, require_both_classes, sigmoid

Array = npt.NDArray[np.floating]
CalibrationMethod = Literal["temperature", "isotonic"]

_RIGHT_SHARE = 2.0 / 3.0  # a call that is right less often than this is no call


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TemperatureCalibration(_Strict):
    """P(fake) = sigmoid(logit / temperature): Guo et al. (2017), arXiv 1706.04599."""

    method: Literal["temperature"] = "temperature"
    temperature: float = Field(gt=0, allow_inf_nan=False)

    def scores(self, logits: Array) -> npt.NDArray[np.float64]:
        """Turn logits ``(n,)`` into P(fake), ``(n,)`` in 0..1."""
        return sigmoid(logits / self.temperature)


class IsotonicCalibration(_Strict):
    """P(fake) is interpolated between knots that rise in both coordinates; beyond the outermost it is constant.

    Zadrozny, Elkan, "Transforming classifier scores into accurate multiclass probability estimates" (KDD 2002).
    """

    method: Literal["isotonic"] = "isotonic"
    knot_logits: tuple[FiniteFloat, ...] = Field(min_length=1)
    knot_scores: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _knots_rise(self) -> Self:
        if len(self.knot_logits) != len(self.knot_scores):
            raise ValueError(f"{len(self.knot_logits)} knot_logits but {len(self.knot_scores)} knot_scores")
        if not all((np.diff(knots) > 0).all() for knots in (self.knot_logits, self.knot_scores)):
            raise ValueError("knot_logits and knot_scores must rise from knot to knot")
        return self

    def scores(self, logits: Array) -> npt.NDArray[np.float64]:
        """Turn logits ``(n,)`` into P(fake), ``(n,)`` in 0..1."""
        return np.asarray(np.interp(logits, self.knot_logits, self.knot_scores), np.float64)


Calibration = Annotated[TemperatureCalibration | IsotonicCalibration, Field(discriminator="method")]


def fit_calibration(method: CalibrationMethod, labels: Array, logits: Array) -> Calibration:
    """Fit a calibration to the logits ``(n,)`` of held-out rows.

    Temperature has one parameter and keeps the order of all rows: for few rows. Isotonic follows any rising curve,
    and wants some thousand; rows beyond its outermost knots are tied.

    Raises:
        RowsUnusable: the rows are all real, or all fake.
    """
    require_both_classes(labels, "calibrate")
    if method == "temperature":
        return TemperatureCalibration(temperature=fit_temperature(labels, logits))
    knots, shares = _pool_adjacent_violators(labels, logits)
    certainty = 1.0 / (len(labels) + 2)  # rule of succession: n rows of one kind prove no more
    scores = np.clip(shares, certainty, 1.0 - certainty)
    return IsotonicCalibration(knot_logits=tuple(knots.tolist()), knot_scores=tuple(scores.tolist()))


def fit_temperature(labels: Array, logits: Array) -> float:
    """Find the temperature that makes ``sigmoid(logits / temperature)`` most likely (Guo et al. 2017)."""
    low, high = np.log(0.05), np.log(20.0)
    for _ in range(60):  # ternary search: the loss is convex in 1 / temperature, so unimodal
        left, right = low + (high - low) / 3.0, high - (high - low) / 3.0
        losses = [log_loss(labels, sigmoid(logits / np.exp(at))) for at in (left, right)]
        low, high = (low, right) if losses[0] < losses[1] else (left, high)
    return float(np.exp((low + high) / 2.0))


def uncertain_band(labels: Array, scores: Array, *, threshold: float = 0.5) -> tuple[float, float]:
    """Find the scores ``(low, high)`` between which a call is right less than two times in three.

    Held-out rows decide: an isotonic fit gives the share of fakes at each score, and the band reaches from where it
    is one third to where it is two thirds. It always holds ``threshold``. For perfectly calibrated scores it is
    (1/3, 2/3); it widens on the side where the scores promise more than the rows keep, to all scores of that side where
    none of them keeps it.

    Raises:
        RowsUnusable: the rows are all real, or all fake.
    """
    require_both_classes(labels, "find the uncertain band")
    knots, shares = _pool_adjacent_violators(labels, scores)
    low = np.interp(1.0 - _RIGHT_SHARE, shares, knots, left=0.0)
    high = np.interp(_RIGHT_SHARE, shares, knots, right=1.0)
    return min(float(low), threshold), max(float(high), threshold)


def _pool_adjacent_violators(labels: Array, values: Array) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Fit the share of fakes as a rising function of ``values``: each block's mean value and share, both rising.

    Ayer et al., "An empirical distribution function for sampling with incomplete information" (1955).
    """
    distinct, which = np.unique(values.astype(np.float64), return_inverse=True)
    counts = np.bincount(which)
    blocks: list[npt.NDArray[np.float64]] = []  # each (rows, fakes, sum of values)
    for block in np.stack([counts, np.bincount(which, labels), counts * distinct], axis=1):
        blocks.append(block)
        while len(blocks) > 1 and blocks[-2][1] * blocks[-1][0] >= blocks[-1][1] * blocks[-2][0]:  # shares do not rise
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    n_rows, n_fakes, sums = np.array(blocks).T
    return sums / n_rows, n_fakes / n_rows
