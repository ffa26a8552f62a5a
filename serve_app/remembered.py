"""An answer that is asked for again only when it is too old."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from serve_app.errors import Overloaded

Answer = TypeVar("Answer")


class Remembered(Generic[Answer]):
    """Asks once for all who wait, and remembers the answer for ``fresh_s`` seconds; a failure is not remembered."""

    def __init__(self, ask: Callable[[], Awaitable[Answer]], *, fresh_s: float, timeout_s: float = 10.0) -> None:
        self._ask = ask
        self._fresh_s = fresh_s
        self._timeout_s = timeout_s
        self._asking = asyncio.Lock()
        self._remembered: tuple[float, Answer] | None = None

    async def get(self) -> Answer:
        """Return the answer, at most ``fresh_s`` old.

        Raises:
            Overloaded: there was no answer in time. Whatever asking raised is raised too.
        """
        async with self._asking:
            now = time.monotonic()
            if self._remembered is None or now - self._remembered[0] > self._fresh_s:
                self._remembered = now, await self._answer()
            return self._remembered[1]

    async def _answer(self) -> Answer:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._ask()
        except TimeoutError as exc:
            message = f"a deployment gave no answer within {self._timeout_s:g} s"
            raise Overloaded(message, retry_after_s=math.ceil(self._timeout_s)) from exc
