"""Few calls instead of many: what comes while some are under way goes together in the next one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class _Submission(Generic[Item, Result]):
    items: Sequence[Item]
    results: asyncio.Future[list[Result]]


class Coalescer(Generic[Item, Result]):
    """Hands items to ``call``, which gives a result for each; no more than ``max_calls`` calls are under way at a time.

    Who finds fewer than that waits for nobody. Those who come later go together, and the first of them makes the call;
    if it fails, or is cancelled, the others are cancelled. So all must belong to one ``TaskGroup``, which the first
    fails.
    """

    def __init__(self, call: Callable[[list[Item]], Awaitable[Sequence[Result]]], *, max_calls: int) -> None:
        self._call = call
        self._turns = asyncio.Semaphore(max_calls)
        self._waiting: list[_Submission[Item, Result]] = []

    async def submit(self, items: Sequence[Item]) -> list[Result]:
        """Have a result for each item, in their order; raises what ``call`` does."""
        submission = _Submission[Item, Result](items, asyncio.get_running_loop().create_future())
        self._waiting.append(submission)
        async with self._turns:
            if submission in self._waiting:  # else it went with another's
                await self._send()
        return await submission.results

    async def _send(self) -> None:
        batch, self._waiting = self._waiting, []
        try:
            results = iter(await self._call([item for submission in batch for item in submission.items]))
            for submission in batch:
                if not submission.results.done():  # else its task was cancelled
                    submission.results.set_result(list(islice(results, len(submission.items))))
        finally:
            for submission in batch:
                submission.results.cancel()  # nothing, where there is a result
