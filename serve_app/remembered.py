"""An answer that is asked for again only when it is too old."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from serve_app.errors import Overloaded, RequestError

Answer = TypeVar("Answer")
logger = logging.getLogger(__name__)


class Remembered(Generic[Answer]):
    """Asks once for all who wait, and remembers the answer for ``fresh_s`` seconds."""

    def __init__(self, ask: Callable[[], Awaitable[Answer]], *, fresh_s: float, timeout_s: float = 10.0) -> None:
        self._ask = ask
        self._fresh_s = fresh_s
        self._timeout_s = timeout_s
        self._remembered: tuple[float, Answer] | None = None
        self._asking: asyncio.Task[Answer] | None = None

    async def get(self) -> Answer:
        """Return the answer, at most ``fresh_s`` old; an older one only where there is no new one in time.

        Raises:
            RequestError: nothing is remembered, and there was no answer.
        """
        if self._remembered is not None and self._is_fresh(self._remembered):
            return self._remembered[1]
        return await asyncio.shield(self._question())  # one who leaves does not end it for the others

    async def latest(self) -> Answer:
        """Return what is remembered, however old, and ask anew beside it; only the first callers wait.

        Raises:
            RequestError: as ``get``.
        """
        if self._remembered is None:
            return await self.get()
        if not self._is_fresh(self._remembered):
            self._question()
        return self._remembered[1]

    def _is_fresh(self, remembered: tuple[float, Answer]) -> bool:
        return time.monotonic() - remembered[0] <= self._fresh_s

    def _question(self) -> asyncio.Task[Answer]:
        """The one question under way."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._answer())
            self._asking.add_done_callback(_log_bug)
        return self._asking

    async def _answer(self) -> Answer:
        try:
            answer = await self._ask_in_time()
        except RequestError as exc:
            if self._remembered is None:
                raise
            logger.warning("what was last heard goes on being used: %s", exc)
            return self._remembered[1]
        self._remembered = time.monotonic(), answer
        return answer

    async def _ask_in_time(self) -> Answer:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._ask()
        except TimeoutError as exc:
            message = f"a deployment gave no answer within {self._timeout_s:g} s"
            raise Overloaded(message, retry_after_s=math.ceil(self._timeout_s)) from exc


def _log_bug(asking: asyncio.Task[Answer]) -> None:
    """Log what is no refusal; a refusal may find that all who waited have left, which asyncio would log."""
    error = None if asking.cancelled() else asking.exception()
    if error is not None and not isinstance(error, RequestError):
        logger.error("a deployment could not be asked", exc_info=error)
