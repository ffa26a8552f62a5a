"""The micro-batcher."""

import asyncio
import threading
from collections.abc import Callable, Coroutine

import numpy as np
import numpy.typing as npt
import pytest

from serve_app.batching import MicroBatcher

Array = npt.NDArray[np.float32]


class GatedSum:
    """Sums each row, but only once its gate is open; remembers the batches."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, int]] = []
        self.gate = threading.Event()

    def __call__(self, key: str, rows: Array) -> Array:
        self.batches.append((key, len(rows)))
        assert self.gate.wait(timeout=5)
        if np.isnan(rows).any():
            raise ValueError("nan")
        return np.asarray(rows.sum(axis=1))


def rows(*values: float) -> Array:
    return np.array([[value] for value in values], np.float32)


def batcher_over(compute: Callable[[str, Array], Array], max_rows: int = 8) -> MicroBatcher[str, Array]:
    return MicroBatcher(compute, np.concatenate, max_rows=lambda _: max_rows)


async def started(coroutine: Coroutine[None, None, Array]) -> "asyncio.Task[Array]":
    task = asyncio.create_task(coroutine)
    await asyncio.sleep(0)  # let it submit
    return task


def test_rows_that_arrive_while_a_batch_runs_make_up_the_next_one() -> None:
    """No timer: the first goes alone at once, the rest together."""

    async def scenario() -> None:
        compute = GatedSum()
        batcher = batcher_over(compute)
        tasks = [await started(batcher.submit("a", rows(value))) for value in (1, 2, 3, 4)]
        compute.gate.set()
        assert [(await task).tolist() for task in tasks] == [[1], [2], [3], [4]]
        assert compute.batches == [("a", 1), ("a", 3)]

    asyncio.run(scenario())


def test_keys_are_not_mixed_and_the_oldest_goes_first() -> None:
    """A busy key cannot starve another."""

    async def scenario() -> None:
        compute = GatedSum()
        batcher = batcher_over(compute)
        tasks = [await started(batcher.submit(key, rows(1))) for key in "abcabaa"]
        compute.gate.set()
        await asyncio.gather(*tasks)
        assert compute.batches == [("a", 1), ("b", 2), ("c", 1), ("a", 3)]

    asyncio.run(scenario())


def test_a_batch_holds_at_most_max_rows() -> None:
    """What does not fit waits for the next batch; one large submission alone is computed in pieces."""

    async def scenario() -> None:
        compute = GatedSum()
        batcher = batcher_over(compute, max_rows=2)
        tasks = [await started(batcher.submit("a", rows(*values))) for values in ((1,), (2,), (3, 4), (5, 6, 7, 8, 9))]
        compute.gate.set()
        assert (await tasks[3]).tolist() == [5, 6, 7, 8, 9]
        assert [n for _, n in compute.batches] == [1, 1, 2, 2, 2, 1]

    asyncio.run(scenario())


def test_a_key_waits_for_one_batch_of_another_only() -> None:
    """However many rows of the other came first: explained rows take thirty times as long as plain ones."""

    async def scenario() -> None:
        compute = GatedSum()
        batcher = batcher_over(compute, max_rows=2)
        tasks = [await started(batcher.submit(key, rows(1))) for key in ("slow",) * 5 + ("fast",)]
        compute.gate.set()
        await asyncio.gather(*tasks)
        assert compute.batches == [("slow", 1), ("fast", 1), ("slow", 2), ("slow", 2)]

    asyncio.run(scenario())


def test_a_failure_reaches_only_the_submitter_of_its_rows() -> None:
    """Those beside it in the batch are computed without it, and so is what comes after."""

    async def scenario() -> None:
        compute = GatedSum()
        batcher = batcher_over(compute)
        tasks = [await started(batcher.submit("a", rows(value))) for value in (1, 2, float("nan"), 3)]
        compute.gate.set()
        _, before, failed, after = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(failed, ValueError)
        assert [before, after] == [[2], [3]]
        assert (await batcher.submit("a", rows(4))).tolist() == [4]

    asyncio.run(scenario())


def test_rows_of_a_submitter_that_left_are_not_computed() -> None:
    """Those who wait beside it get theirs."""

    async def scenario() -> None:
        compute = GatedSum()
        batcher = batcher_over(compute)
        _, leaver, stayer = [await started(batcher.submit("a", rows(value))) for value in (1, 2, 3)]
        leaver.cancel()
        await asyncio.sleep(0)
        compute.gate.set()
        assert (await stayer).tolist() == [3]
        assert compute.batches == [("a", 1), ("a", 1)]

    asyncio.run(scenario())


@pytest.mark.parametrize("value", [1.0, float("nan")])
def test_a_submitter_may_leave_while_its_batch_runs(value: float) -> None:
    """Neither its results nor its failure disturb anyone."""

    async def scenario() -> None:
        compute = GatedSum()
        batcher = batcher_over(compute)
        leaver = await started(batcher.submit("a", rows(value)))
        leaver.cancel()
        compute.gate.set()
        assert (await batcher.submit("a", rows(3))).tolist() == [3]

    asyncio.run(scenario())


def test_results_that_do_not_match_the_rows_are_refused() -> None:
    """Otherwise one caller would get another's."""

    async def scenario() -> None:
        batcher = batcher_over(lambda _key, batch: batch[:1, 0])
        with pytest.raises(RuntimeError, match="2 rows were submitted, 1 results came back"):
            await batcher.submit("a", rows(1, 2))

    asyncio.run(scenario())


def test_no_rows_have_no_results() -> None:
    """Alone or in company, where they change nothing."""

    async def scenario() -> None:
        compute = GatedSum()
        compute.gate.set()
        batcher = batcher_over(compute)
        nothing = np.empty((0, 1), np.float32)
        assert (await batcher.submit("a", nothing)).shape == (0,)
        empty, full = await asyncio.gather(batcher.submit("a", nothing), batcher.submit("a", rows(3)))
        assert (empty.shape, full.tolist()) == ((0,), [3])

    asyncio.run(scenario())
