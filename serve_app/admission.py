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
    def admit(self, size_bytes: int) -> Iterator["Place"]:
        """Hold a place for one request. A lone request is let in whatever its size.

        Raises:
            Overloaded: there is no place; says when to try again.
        """
        if self._requests >= self._max_requests:
            raise self._overloaded()
        place = Place(self)
        self._requests += 1
        try:
            place.grow_to(size_bytes)
            yield place
        finally:
            self._requests -= 1
            self._bytes -= place.size_bytes

    def take(self, n_bytes: int) -> None:
        """Count bytes of a request that has a place.

        Raises:
            Overloaded: with those of the others they are too many.
        """
        if self._requests > 1 and self._bytes + n_bytes > self._max_bytes:
            raise self._overloaded()
        self._bytes += n_bytes

    def _overloaded(self) -> Overloaded:
        message = f"{self._requests} requests of {self._bytes / 1e6:.0f} MB are in progress"
        return Overloaded(f"{message}: try again in {self._retry_after_s} s", retry_after_s=self._retry_after_s)


class Place:
    """One request's place: its body counts as what it declares, or as what has come of it."""

    def __init__(self, admission: Admission) -> None:
        self.size_bytes = 0
        self._admission = admission

    def grow_to(self, size_bytes: int) -> None:
        """Count a body of this size; raises Overloaded where that is too much now."""
        if size_bytes > self.size_bytes:
            self._admission.take(size_bytes - self.size_bytes)
            self.size_bytes = size_bytes
