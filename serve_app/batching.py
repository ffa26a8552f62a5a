"""A micro-batcher: rows that arrive while a batch is computed make up the next one."""

import asyncio
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float32]


class RowResults(Protocol):
    """What was computed of some rows, an item for each: it can be counted, and cut as a list can."""

    def __len__(self) -> int:
        """Count the rows."""
        ...

    def __getitem__(self, rows: slice, /) -> Self:
        """Take some of the rows."""
        ...


Key = TypeVar("Key", bound=Hashable)
Results = TypeVar("Results", bound=RowResults)


@dataclass(frozen=True, eq=False)
class _Submission(Generic[Key, Results]):
    key: Key
    rows: Rows
    results: asyncio.Future[Results]


class MicroBatcher(Generic[Key, Results]):
    """Compute rows of one key together, one batch at a time, on one worker thread.

    There is no timer: an idle batcher starts at once, a busy one gathers what arrives meanwhile, so batches
    grow with the load and nothing waits without need. Keys take turns: a busy or a slow one keeps another waiting for
    one batch of its own, of at most ``max_rows(key)`` rows. ``compute(key, rows)`` gives results for ``(n, width)``
    rows, ``join`` puts those of several batches together.
    """

    def __init__(
        self,
        compute: Callable[[Key, Rows], Results],
        join: Callable[[Sequence[Results]], Results],
        *,
        max_rows: Callable[[Key], int],
    ) -> None:
        self._compute = compute
        self._join = join
        self._max_rows = max_rows
        self._last_key: Key | None = None
        self._waiting: list[_Submission[Key, Results]] = []  # in order of arrival
        self._runner: asyncio.Task[None] | None = None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="batch")

    async def submit(self, key: Key, rows: Rows) -> Results:
        """Compute ``rows`` ``(n, width)`` together with others of the same key: their results, in their order.

        Raises whatever ``compute`` raised for these rows.
        """
        results: asyncio.Future[Results] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Submission(key, rows, results))
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run())
        return await results

    async def _run(self) -> None:
        while batch := self._take():
            await self._settle(batch)

    async def _settle(self, batch: list[_Submission[Key, Results]]) -> None:
        """Give every submitter its results; if the batch fails, each alone, for the rows of one may be at fault."""
        try:
            parts = await asyncio.get_running_loop().run_in_executor(self._worker, self._results, batch)
        except Exception as exc:  # noqa: BLE001 - not swallowed: the submitter raises it
            if len(batch) > 1:
                for submission in batch:
                    await self._settle([submission])
            elif not batch[0].results.done():
                batch[0].results.set_exception(exc)
        else:
            for submission, part in zip(batch, parts, strict=True):
                if not submission.results.done():  # its submitter left meanwhile
                    submission.results.set_result(part)

    def _take(self) -> list[_Submission[Key, Results]]:
        """Remove the next batch: of another key than the last one's if one waits, the oldest, and all that fit."""
        waiting = [submission for submission in self._waiting if not submission.results.done()]  # else cancelled
        keys = [submission.key for submission in waiting]
        key = self._last_key = next((key for key in keys if key != self._last_key), keys[0] if keys else None)
        batch: list[_Submission[Key, Results]] = []
        self._waiting = []
        n_rows = 0
        for submission in waiting:
            fits = not batch or n_rows + len(submission.rows) <= self._max_rows(submission.key)
            if submission.key == key and fits:
                batch.append(submission)
                n_rows += len(submission.rows)
            else:
                self._waiting.append(submission)
        return batch

    def _results(self, batch: list[_Submission[Key, Results]]) -> list[Results]:
        """On the worker thread: compute a batch, in pieces of ``max_rows`` where one submission alone is larger."""
        key, max_rows = batch[0].key, self._max_rows(batch[0].key)
        rows = np.concatenate([submission.rows for submission in batch])
        starts = range(0, max(len(rows), 1), max_rows)
        results = self._join([self._compute(key, rows[start : start + max_rows]) for start in starts])
        if len(results) != len(rows):
            raise RuntimeError(f"{len(rows)} rows were submitted, {len(results)} results came back")
        bounds = np.cumsum([0, *(len(submission.rows) for submission in batch)]).tolist()
        return [results[start:end] for start, end in pairwise(bounds)]
