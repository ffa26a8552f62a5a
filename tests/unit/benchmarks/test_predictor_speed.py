"""The predictor's benchmark: what it says of a model that there is not."""

import sys

import pytest

from benchmarks import predictor_speed


@pytest.mark.parametrize("model", ["nosuch", "mobilenetv2_celebv2@9"])
def test_a_model_that_there_is_not_is_one_line(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of a traceback."""
    monkeypatch.setattr(sys, "argv", ["predictor_speed.py", model])
    with pytest.raises(SystemExit, match=r"no model 'nosuch' in|has no version 9"):
        predictor_speed.main()
