"""A micro-batcher: rows that arrive while a batch is computed make up the next one."""

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

Key = TypeVar("Key", bound=Hashable)
Rows = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class _Submission(Generic[Key]):
    key: Key
    rows: Rows
    scores: asyncio.Future[Scores]


class MicroBatcher(Generic[Key]):
    """Compute rows of one key together, one batch at a time, on one worker thread.

    There is no timer: an idle batcher starts at once, a busy one gathers what arrives meanwhile, so batches
    grow with the load and nothing waits without need. ``compute(key, rows)`` maps ``(n, width)`` to ``(n,)``.
    """

    def __init__(self, compute: Callable[[Key, Rows], Scores], *, max_rows: int) -> None:
        self._compute = compute
        self._max_rows = max_rows
        self._waiting: list[_Submission[Key]] = []  # in order of arrival
        self._runner: asyncio.Task[None] | None = None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="batch")
        self._closed = False

    async def submit(self, key: Key, rows: Rows) -> Scores:
        """Score ``rows`` ``(n, width)`` together with others of the same key: ``(n,)`` in the order of the rows.

        Raises whatever ``compute`` raised for the batch, and RuntimeError once the batcher is closed.
        """
        if self._closed:
            raise RuntimeError("the batcher is closed")
        if not len(rows):
            return np.empty(0, np.float32)
        scores: asyncio.Future[Scores] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Submission(key, rows, scores))
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run())
        return await scores

    async def aclose(self) -> None:
        """Refuse new rows, finish those that wait, end the worker thread."""
        self._closed = True
        if self._runner is not None:
            await self._runner
        self._worker.shutdown()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while batch := self._take():
            try:
                parts = await loop.run_in_executor(self._worker, self._scores, batch)
            except Exception as exc:  # noqa: BLE001 - not swallowed: every submitter of the batch raises it
                for submission in batch:
                    if not submission.scores.done():
                        submission.scores.set_exception(exc)
            else:
                for submission, part in zip(batch, parts, strict=True):
                    if not submission.scores.done():  # its submitter left meanwhile
                        submission.scores.set_result(part)

    def _take(self) -> list[_Submission[Key]]:
        """Remove the next batch: the oldest submission, and all of its key that fit beside it."""
        batch: list[_Submission[Key]] = []
        left: list[_Submission[Key]] = []
        n_rows = 0
        for submission in self._waiting:
            if submission.scores.done():  # cancelled before it was started
                continue
            same_key = not batch or submission.key == batch[0].key
            if same_key and (not batch or n_rows + len(submission.rows) <= self._max_rows):
                batch.append(submission)
                n_rows += len(submission.rows)
            else:
                left.append(submission)
        self._waiting = left
        return batch

    def _scores(self, batch: list[_Submission[Key]]) -> list[Scores]:
        """On the worker thread: compute a batch, in pieces of ``max_rows`` where one submission alone is larger."""
        key = batch[0].key
        rows = np.concatenate([submission.rows for submission in batch])
        starts = range(0, len(rows), self._max_rows)
        scores = np.concatenate([self._compute(key, rows[start : start + self._max_rows]) for start in starts])
        if len(scores) != len(rows):
            raise RuntimeError(f"{len(rows)} rows were submitted, {len(scores)} scores came back")
        ends = np.cumsum([len(submission.rows) for submission in batch])
        return np.split(scores, ends[:-1])
