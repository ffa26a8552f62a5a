"""Calibration: temperature, isotonic, and the uncertain band."""

import numpy as np
import pytest

from serve_app.models.calibration import fit_temperature
from serve_app.models.evaluation import ece, sigmoid


def test_temperature_undoes_overconfidence() -> None:
    """Logits three times too large are divided by three, and the calibration error falls."""
    rng = np.random.default_rng(0)
    honest = rng.normal(0.0, 2.0, 20_000)
    labels = (rng.random(20_000) < sigmoid(honest)).astype(np.float64)
    temperature = fit_temperature(labels, 3.0 * honest)
    assert temperature == pytest.approx(3.0, rel=0.05)
    assert ece(labels, sigmoid(3.0 * honest / temperature)) < 0.3 * ece(labels, sigmoid(3.0 * honest))
