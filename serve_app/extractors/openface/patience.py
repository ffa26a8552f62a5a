"""How long a frame is waited for."""

import time
from threading import Event

from serve_app.errors import ExtractionFailed, FrameTimeout

LOADING = "loading OpenFace"

_TICK_S = 0.05
_GRACE_S = 1.5  # most frames are done by then, and a process that is let finish need not load again


class Patience:
    """Ends at the deadline, or a moment after the caller has left."""

    def __init__(self, timeout_s: float, stop: Event | None = None, *, what: str = "this frame") -> None:
        self._what = what
        self._timeout_s = timeout_s
        self._deadline = time.monotonic() + timeout_s
        self._stop = stop
        self._left = False

    def tick_s(self) -> float:
        """Return how long to wait before asking again.

        Raises:
            FrameTimeout: the deadline has passed.
            ExtractionFailed: the caller has left.
        """
        now = time.monotonic()
        if self._stop is not None and self._stop.is_set() and not self._left:
            self._left = True
            self._deadline = min(self._deadline, now + _GRACE_S)
        if now < self._deadline:
            return min(_TICK_S, self._deadline - now)
        if self._left:
            raise ExtractionFailed(f"the caller left before {self._what} was done")
        raise FrameTimeout(f"{self._what} was not done within {self._timeout_s:g} s")
