"""Calibration: temperature, isotonic, and the uncertain band."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from serve_app.errors import RowsUnusable
from serve_app.models.calibration import (
    Calibration,
    CalibrationMethod,
    IsotonicCalibration,
    TemperatureCalibration,
    fit_calibration,
    fit_temperature,
    uncertain_band,
)
from serve_app.models.evaluation import ece, sigmoid

Float64 = npt.NDArray[np.float64]
METHODS: tuple[CalibrationMethod, ...] = ("temperature", "isotonic")
ADAPTER: TypeAdapter[Calibration] = TypeAdapter(Calibration)


def honest_rows(seed: int) -> tuple[Float64, Float64]:
    """Labels drawn with the probabilities that the logits say: ``(20000,)`` each."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0.0, 2.0, 20_000)
    return (rng.random(20_000) < sigmoid(logits)).astype(np.float64), logits


@pytest.mark.parametrize("method", METHODS)
def test_calibration_undoes_overconfidence(method: CalibrationMethod) -> None:
    """Of logits three times too large, on rows it was not fitted to."""
    (fit_labels, fit_logits), (labels, logits) = honest_rows(0), honest_rows(1)
    calibration = fit_calibration(method, fit_labels, 3.0 * fit_logits)
    assert ece(labels, sigmoid(3.0 * logits)) > 0.1
    assert ece(labels, calibration.scores(3.0 * logits)) < 0.015


def test_the_temperature_is_the_factor_of_overconfidence() -> None:
    """Three, within what 20,000 labels tell."""
    labels, logits = honest_rows(0)
    assert fit_temperature(labels, 3.0 * logits) == pytest.approx(3.0, rel=0.05)


def test_isotonic_follows_what_no_temperature_can() -> None:
    """A bias: logits that are all 2 too high."""
    (fit_labels, fit_logits), (labels, logits) = honest_rows(0), honest_rows(1)
    errors = {
        method: ece(labels, fit_calibration(method, fit_labels, fit_logits + 2.0).scores(logits + 2.0))
        for method in METHODS
    }
    assert errors["temperature"] > 0.1
    assert errors["isotonic"] < 0.015


def test_violators_are_pooled_by_hand() -> None:
    """The labels 0 1 0 1 1: the middle two become one block of one half."""
    calibration = fit_calibration("isotonic", np.array([0, 1, 0, 1, 1.0]), np.array([0, 1, 2, 3, 4.0]))
    assert isinstance(calibration, IsotonicCalibration)
    assert calibration.knot_logits == (0.0, 1.5, 3.5)
    assert calibration.knot_scores == pytest.approx((1 / 7, 0.5, 6 / 7))  # five rows prove no more than 6 in 7


@given(rows=st.lists(st.tuples(st.booleans(), st.floats(-20, 20)), min_size=2, max_size=60), flip=st.booleans())
def test_isotonic_scores_rise_with_the_logits(rows: list[tuple[bool, float]], flip: bool) -> None:
    """Strictly inside 0..1, whatever it was fitted to."""
    labels = np.array([flip, not flip, *(label for label, _ in rows[2:])], np.float64)
    calibration = fit_calibration("isotonic", labels, np.array([logit for _, logit in rows]))
    scores = calibration.scores(np.linspace(-25.0, 25.0, 301))
    assert (np.diff(scores) >= 0.0).all()
    assert 0.0 < scores[0] <= scores[-1] < 1.0


@pytest.mark.parametrize("method", METHODS)
def test_a_calibration_survives_its_manifest(method: CalibrationMethod) -> None:
    """JSON and back gives the same scores, told apart by `method`."""
    labels, logits = honest_rows(0)
    calibration = fit_calibration(method, labels, logits)
    read = ADAPTER.validate_json(ADAPTER.dump_json(calibration))
    assert read == calibration
    assert np.array_equal(read.scores(logits), calibration.scores(logits))


@pytest.mark.parametrize(
    ("logits", "scores", "message"),
    [
        ((0.0, 1.0), (0.5,), "2 knot_logits but 1 knot_scores"),
        ((0.0, 1.0), (0.5, 0.4), "must rise"),
        ((1.0, 1.0), (0.4, 0.5), "must rise"),
        ((0.0, 1.0), (0.0, 0.5), "greater than 0"),
    ],
)
def test_knots_that_are_no_calibration_are_refused(
    logits: tuple[float, ...], scores: tuple[float, ...], message: str
) -> None:
    """A manifest may have been edited."""
    with pytest.raises(ValidationError, match=message):
        IsotonicCalibration(knot_logits=logits, knot_scores=scores)


def test_a_temperature_divides_the_logits() -> None:
    """P(fake) = sigmoid(logit / temperature)."""
    scores = TemperatureCalibration(temperature=2.0).scores(np.array([0.0, 2.0 * np.log(3.0)]))
    assert scores == pytest.approx([0.5, 0.75])


@pytest.mark.parametrize(("boast", "band"), [(1.0, (1 / 3, 2 / 3)), (3.0, (1 / 9, 8 / 9))])
def test_the_band_is_where_a_call_is_right_less_than_two_times_in_three(
    boast: float, band: tuple[float, float]
) -> None:
    """Odds of one to two are one to eight in the mouth of a boaster who says thrice the logit."""
    labels, logits = honest_rows(2)
    assert uncertain_band(labels, sigmoid(boast * logits)) == pytest.approx(band, abs=0.05)


def test_the_band_holds_the_threshold() -> None:
    """Even where no score near it was seen; on either side of it the verdict must not jump from real to fake."""
    labels = np.repeat([0.0, 1.0], 50)
    low, high = uncertain_band(labels, np.where(labels == 1, 0.3, 0.1))
    assert low < 0.3
    assert high == 0.5


@pytest.mark.parametrize(
    ("fakes_of_ten", "band"), [((4, 9), (0.0, 0.5)), ((1, 6), (0.193, 1.0)), ((5, 5), (0.0, 1.0)), ((6, 4), (0.0, 1.0))]
)
def test_the_band_is_all_of_a_side_that_is_never_right_enough(
    fakes_of_ten: tuple[int, int], band: tuple[float, float]
) -> None:
    """A detector that cannot tell must not call its lowest scores real, nor its highest fake."""
    labels = np.concatenate([np.repeat([1.0, 0.0], [n_fakes, 10 - n_fakes]) for n_fakes in fakes_of_ten])
    assert uncertain_band(labels, np.repeat([0.1, 0.3], 10)) == pytest.approx(band, abs=0.001)


@pytest.mark.parametrize(("label", "missing"), [(0.0, "fake"), (1.0, "real")])
def test_one_class_calibrates_nothing(label: float, missing: str) -> None:
    """And the message says which is missing."""
    with pytest.raises(RowsUnusable, match=f"cannot calibrate: none of the 9 rows is {missing}"):
        fit_calibration("temperature", np.full(9, label), np.zeros(9))
