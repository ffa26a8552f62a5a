"""An answer that is asked for again only when it is too old."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from serve_app.errors import Overloaded

Answer = TypeVar("Answer")
logger = logging.getLogger(__name__)


class Remembered(Generic[Answer]):
    """Asks once for all who wait, and remembers the answer for ``fresh_s`` seconds; a failure is not remembered."""

    def __init__(self, ask: Callable[[], Awaitable[Answer]], *, fresh_s: float, timeout_s: float = 10.0) -> None:
        self._ask = ask
        self._fresh_s = fresh_s
        self._timeout_s = timeout_s
        self._asking = asyncio.Lock()
        self._remembered: tuple[float, Answer] | None = None
        self._renewal: asyncio.Task[None] | None = None

    async def get(self) -> Answer:
        """Return the answer, at most ``fresh_s`` old.

        Raises:
            Overloaded: there was no answer in time. Whatever asking raised is raised too.
        """
        async with self._asking:
            if self._remembered is None or not self._is_fresh(self._remembered):
                self._remembered = time.monotonic(), await self._answer()
            return self._remembered[1]

    async def latest(self) -> Answer:
        """Return what is remembered, however old, and ask anew beside it; only the first caller waits.

        Raises:
            Overloaded: it is the first call, and there was no answer in time.
        """
        if self._remembered is None:
            return await self.get()
        if not self._is_fresh(self._remembered) and (self._renewal is None or self._renewal.done()):
            self._renewal = asyncio.create_task(self._renew())
        return self._remembered[1]

    def _is_fresh(self, remembered: tuple[float, Answer]) -> bool:
        return time.monotonic() - remembered[0] <= self._fresh_s

    async def _renew(self) -> None:
        try:
            await self.get()
        except Overloaded as exc:
            logger.warning("what was last heard goes on being used: %s", exc)

    async def _answer(self) -> Answer:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._ask()
        except TimeoutError as exc:
            message = f"a deployment gave no answer within {self._timeout_s:g} s"
            raise Overloaded(message, retry_after_s=math.ceil(self._timeout_s)) from exc
