"""Keeps one warm process at work, and has the next one loaded before it is needed."""

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from threading import Event, Lock, Thread
from typing import Protocol

from serve_app.errors import OpenFaceUnusable
from serve_app.extractors.openface.patience import Patience
from serve_app.extractors.openface.process import MAX_FAILED_STARTS

logger = logging.getLogger(__name__)

_MAX_BACKOFF_S = 30.0
_REFRESH_POLL_S = 2.0
_REFRESH_IDLE_S = 10.0  # OpenCV gives up after 30; the rest is for a machine that is busy
_REFRESH_TIMEOUT_S = 10.0


class Process(Protocol):
    """What is kept: a WarmProcess, or a test's stand-in."""

    @property
    def frames_left(self) -> int:
        """How many frames it still takes."""
        ...

    def is_usable(self) -> bool:
        """Whether it waits for a frame."""
        ...

    def is_alive(self) -> bool:
        """Whether it still runs."""
        ...

    def extract(self, image: bytes, patience: Patience) -> bytes:
        """Extract one frame."""
        ...

    def refresh(self, *, idle_s: float, timeout_s: float) -> None:
        """Keep it from ending if it has been idle for that long."""
        ...

    def close(self) -> None:
        """End it."""
        ...


class Supervisor:
    """Owns the process at work and the one behind it.

    All processes are started by one thread that lives as long as the supervisor: the kernel kills a child
    with the thread that started it.
    """

    def __init__(self, start: Callable[[Event], Process], *, lead_frames: int) -> None:
        """``start`` loads one process or raises OpenFaceUnusable, soon if its event is set.

        The next one is loaded when the one at work takes ``lead_frames`` more.
        """
        self._start = start
        self._lead_frames = lead_frames
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="openface-start")
        self._closing = Event()
        self._lock = Lock()
        self._current: Process | None = None
        self._next: Future[Process] | None = None
        self._failure: Exception | None = None
        self._failed_starts = 0
        self._refresher = Thread(target=self._keep_fresh, name="openface-refresh", daemon=True)
        self._refresher.start()

    def take(self, patience: Patience, *, tries: int = MAX_FAILED_STARTS) -> Process:
        """Return the process that takes the next frame, waiting for one that loads, after failed starts for another.

        Raises:
            OpenFaceUnusable: a start has failed, and with those before it ``tries`` in a row.
            FrameError: ``patience`` ended.
        """
        self.settle()
        while self._current is None:
            self._current = self._await(patience, tries)
            self.settle()  # it may have died while it stood by
        if self._current.frames_left <= self._lead_frames:
            self._prepare()
        return self._current

    def settle(self) -> None:
        """End the process at work if it takes no more frames, and start the next one at once."""
        if self._current is not None and not self._current.is_usable():
            ended, self._current = self._current, None
            self._prepare()
            ended.close()

    def check(self) -> None:
        """See to it that there is a process for long enough, or that one is being loaded; idling uses them up, too.

        Raises:
            OpenFaceUnusable: several starts in a row have failed.
        """
        current = self._current
        if current is None or not current.is_alive() or current.frames_left <= self._lead_frames:
            self._prepare()
        if self._failure is not None and self._failed_starts >= MAX_FAILED_STARTS:
            raise OpenFaceUnusable(f"OpenFace failed to start {self._failed_starts} times: {self._failure}")

    def close(self) -> None:
        """End every process; a load in progress is given up."""
        self._closing.set()
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._refresher.join()
        for process in (self._current, self._standby()):
            if process is not None:
                process.close()
        self._next = self._current = None

    def _keep_fresh(self) -> None:
        while not self._closing.wait(_REFRESH_POLL_S):
            for process in (self._current, self._standby()):
                if process is not None:
                    process.refresh(idle_s=_REFRESH_IDLE_S, timeout_s=_REFRESH_TIMEOUT_S)

    def _standby(self) -> Process | None:
        starting = self._next
        if starting is None or not starting.done() or starting.cancelled() or starting.exception() is not None:
            return None
        return starting.result()

    def _prepare(self) -> Future[Process]:
        """Start the next process unless one is under way or stands by."""
        with self._lock:
            standby = self._standby()
            if standby is not None and not (standby.is_alive() and standby.frames_left):
                standby.close()  # it died, or was idle until no frame was left
                self._next = None
            if self._next is None or (self._next.done() and self._next.exception() is not None):
                self._next = self._thread.submit(self._start_after_backoff)
            return self._next

    def _start_after_backoff(self) -> Process:
        if self._failed_starts:
            self._closing.wait(min(_MAX_BACKOFF_S, 2.0 ** (self._failed_starts - 1)))
        try:
            process = self._start(self._closing)
        except Exception as exc:  # a bug, too, is to be told, and not tried again at once
            self._failed_starts, self._failure = self._failed_starts + 1, exc
            if not self._closing.is_set():
                is_bug = not isinstance(exc, OpenFaceUnusable)
                logger.warning("start %d in a row failed: %s", self._failed_starts, exc, exc_info=is_bug)
            raise
        self._failed_starts, self._failure = 0, None
        return process

    def _await(self, patience: Patience, tries: int) -> Process:
        """Wait for a start that succeeds; a failure is raised as a new one, for what is raised holds the frame.

        However often starts have failed, no frame fails before another has: a replica that failed its frames at
        once would have the shortest queue, and be sent all frames.
        """
        while True:
            starting = self._prepare()
            try:
                failure = starting.exception(patience.tick_s())
            except NotYet:
                continue
            if failure is not None and self._failed_starts >= tries:
                raise OpenFaceUnusable(str(failure))
            with self._lock:
                if failure is None and self._next is starting:  # else it died, and another is under way
                    self._next = None
                    return starting.result()
