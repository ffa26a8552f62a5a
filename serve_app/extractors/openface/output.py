"""What a FeatureExtraction process says: which slot it asks for, and whether it has ended."""

import os
import re
import selectors
from collections.abc import Mapping
from typing import IO

_ASKING = re.compile(rb"Attempting to read from file: (\S+)\s*\n")  # may follow "0% " on the same line
_COMPLAINT = re.compile(r"(could|can) ?not|n't|fail|error|abort|throw", re.IGNORECASE)
_CHUNK_BYTES = 65536
_TAIL_BYTES = 2000
_LAST_LINES = 4


class Output:
    """Drains stdout and stderr, for a full pipe would stop the process."""

    def __init__(self, stdout: IO[bytes], stderr: IO[bytes], slots: Mapping[bytes, int]) -> None:
        self.asked = -1
        """The slot that the process asked for last; by then it has finished the one before."""
        self._slots = slots
        self.closed = False
        self._unread = b""
        self._tail = b""
        self._stdout, self._stderr = stdout, stderr
        self._selector = selectors.DefaultSelector()
        for stream in (stdout, stderr):
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream, selectors.EVENT_READ)

    @property
    def ended(self) -> bool:
        """Whether the process closed its stdout: it is dead, or as good as dead."""
        return self._stdout not in self._registered()

    @property
    def last_words(self) -> str:
        """The end of what it wrote and what it complained of before, as one line: for the log.

        Without its models it says so, goes on, and ends much later.
        """
        lines = list(dict.fromkeys(self._tail.decode("utf-8", "replace").splitlines()))
        return " | ".join(line for line in lines if line in lines[-_LAST_LINES:] or _COMPLAINT.search(line))

    def wait(self, timeout_s: float, writable: int | None = None) -> bool:
        """Take in what there is, waiting for it at most so long; return whether ``writable`` takes bytes."""
        if writable is not None:
            self._selector.register(writable, selectors.EVENT_WRITE)
        try:
            ready = {key.fileobj for key, _ in self._selector.select(timeout_s)}
        finally:
            if writable is not None:
                self._selector.unregister(writable)
        for stream in (self._stdout, self._stderr):
            if stream in ready:
                self._read(stream)
        return writable in ready

    def close(self) -> None:
        """Close both streams."""
        self.closed = True
        self._selector.close()
        self._stdout.close()
        self._stderr.close()

    def _registered(self) -> set[object]:
        return {key.fileobj for key in self._selector.get_map().values()}

    def _read(self, stream: IO[bytes]) -> None:
        chunk = os.read(stream.fileno(), _CHUNK_BYTES)
        if not chunk:
            self._selector.unregister(stream)
        self._tail = (self._tail + chunk)[-_TAIL_BYTES:]
        if stream is self._stdout:
            self._note_asked(chunk)

    def _note_asked(self, chunk: bytes) -> None:
        self._unread += chunk
        for match in _ASKING.finditer(self._unread):
            self.asked = self._slots.get(match[1], self.asked)
        self._unread = self._unread[self._unread.rfind(b"\n") + 1 :][-_TAIL_BYTES:]
