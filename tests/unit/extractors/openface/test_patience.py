"""How long a frame is waited for."""

from threading import Event

import pytest

from serve_app.errors import ExtractionFailed, FrameTimeout
from serve_app.extractors.openface.patience import Patience


def test_a_passed_deadline_is_a_timeout() -> None:
    """It says how long was waited."""
    with pytest.raises(FrameTimeout, match="within 0 s"):
        Patience(0).tick_s()


def test_a_frame_is_let_finish_for_a_moment_after_its_caller_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Killing the process costs the next frame its load time."""
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    stop = Event()
    waiting = Patience(30, stop)
    assert waiting.tick_s() > 0
    stop.set()
    assert waiting.tick_s() > 0
    now += 1.6
    with pytest.raises(ExtractionFailed, match="caller left"):
        waiting.tick_s()
