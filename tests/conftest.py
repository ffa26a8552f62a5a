"""What tests of several folders stand on."""

import pytest


@pytest.fixture
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else lines break where the test looks."""
    monkeypatch.setenv("COLUMNS", "200")
