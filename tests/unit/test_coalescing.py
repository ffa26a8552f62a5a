"""Calls that are put together while others are under way."""

import asyncio

import pytest

from serve_app.coalescing import Coalescer
from tests.unit.in_time import run_within


class Stage:
    """Doubles numbers, once it may; keeps each call."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.may_answer = asyncio.Event()
        self.failure: Exception | None = None

    async def __call__(self, numbers: list[int]) -> list[int]:
        self.calls.append(numbers)
        await self.may_answer.wait()
        if self.failure and len(numbers) > 1:
            raise self.failure
        return [2 * number for number in numbers]


def test_what_waits_goes_together() -> None:
    """Two calls at once wait for nobody; each gets its own results, in its order."""

    async def three_and_more() -> None:
        stage = Stage()
        coalescer = Coalescer[int, int](stage, max_calls=2)
        async with asyncio.TaskGroup() as tasks:
            submitted = [tasks.create_task(coalescer.submit([n, 10 + n])) for n in range(5)]
            await asyncio.sleep(0)
            assert stage.calls == [[0, 10], [1, 11]]
            stage.may_answer.set()
        assert stage.calls[2:] == [[2, 12, 3, 13, 4, 14]]
        assert [task.result() for task in submitted] == [[2 * n, 20 + 2 * n] for n in range(5)]

    run_within(5, three_and_more)


def test_a_failure_is_raised_once_and_ends_the_others() -> None:
    """The group sees what went wrong, not who else was on board."""

    async def fail() -> None:
        stage = Stage()
        stage.failure = ValueError("garbled")
        coalescer = Coalescer[int, int](stage, max_calls=1)
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as tasks:
                for n in range(4):
                    tasks.create_task(coalescer.submit([n]))
                await asyncio.sleep(0)
                stage.may_answer.set()
        assert stage.calls == [[0], [1, 2, 3]]
        assert caught.value.exceptions == (stage.failure,)

    run_within(5, fail)


def test_who_leaves_takes_no_one_elses_result() -> None:
    """The call under way is finished for those who stay."""

    async def leave() -> None:
        stage = Stage()
        coalescer = Coalescer[int, int](stage, max_calls=1)
        first = asyncio.create_task(coalescer.submit([0]))
        await asyncio.sleep(0)
        waiting = [asyncio.create_task(coalescer.submit([n])) for n in (1, 2, 3)]
        await asyncio.sleep(0)
        waiting[1].cancel()
        stage.may_answer.set()
        assert await first == [0]
        assert [await waiting[0], await waiting[2]] == [[2], [6]]

    run_within(5, leave)
