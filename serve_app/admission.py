"""How many requests a replica lets in at a time, and how many bytes."""

from collections.abc import Iterator
from contextlib import contextmanager

from serve_app.errors import Overloaded


class Admission:
    """Counts the requests in flight and the bytes of their bodies; refuses one too many at once."""

    def __init__(self, *, max_requests: int, max_bytes: int, retry_after_s: int) -> None:
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._retry_after_s = retry_after_s
        self._requests = 0
        self._bytes = 0

    @contextmanager
    def admit(self, size_bytes: int) -> Iterator[None]:
        """Hold a place for one request. A lone request is let in whatever its size.

        Raises:
            Overloaded: there is no place; says when to try again.
        """
        full = self._requests >= self._max_requests
        heavy = self._requests > 0 and self._bytes + size_bytes > self._max_bytes
        if full or heavy:
            raise Overloaded(
                f"{self._requests} requests of {self._bytes / 1e6:.0f} MB are in progress: "
                f"try again in {self._retry_after_s} s",
                retry_after_s=self._retry_after_s,
            )
        self._requests += 1
        self._bytes += size_bytes
        try:
            yield
        finally:
            self._requests -= 1
            self._bytes -= size_bytes
