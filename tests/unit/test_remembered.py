"""Answers that are asked for again only when they are too old."""

import asyncio
import math

import pytest

from serve_app.errors import Overloaded
from serve_app.remembered import Remembered


class Counter:
    def __init__(self) -> None:
        self.asked = 0

    async def ask(self) -> int:
        self.asked += 1
        await asyncio.sleep(0)
        return self.asked


async def others_done() -> None:
    await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))


def test_many_who_wait_ask_once() -> None:
    """A burst of probes is one question."""
    counter = Counter()

    async def burst() -> list[int]:
        remembered = Remembered(counter.ask, fresh_s=math.inf)
        return await asyncio.gather(*(remembered.get() for _ in range(10)))

    assert asyncio.run(burst()) == [1] * 10


def test_an_old_answer_is_asked_for_again() -> None:
    """Nothing is fresh for longer than it was promised."""

    async def twice() -> list[int]:
        remembered = Remembered(Counter().ask, fresh_s=-1)
        return [await remembered.get(), await remembered.get()]

    assert asyncio.run(twice()) == [1, 2]


def test_a_silent_deployment_is_not_waited_for() -> None:
    """A request must not hang on a question beside it."""
    remembered = Remembered(asyncio.Event().wait, fresh_s=1, timeout_s=0.01)
    with pytest.raises(Overloaded, match="no answer within"):
        asyncio.run(remembered.get())


def test_all_who_wait_for_a_silent_deployment_are_told_together() -> None:
    """One after the other, 32 of them would wait for minutes; one who leaves takes the answer from nobody."""

    async def crowd() -> list[object]:
        counter = Counter()

        async def ask() -> None:
            await counter.ask()
            await asyncio.Event().wait()

        remembered = Remembered(ask, fresh_s=1, timeout_s=0.05)
        waiting = [asyncio.create_task(remembered.get()) for _ in range(32)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        told = await asyncio.gather(*waiting, return_exceptions=True)
        return [counter.asked, *map(type, told)]

    assert asyncio.run(crowd()) == [1, asyncio.CancelledError, *[Overloaded] * 31]


def test_an_old_answer_is_better_than_none() -> None:
    """What was there a moment ago is most likely there still."""
    counter = Counter()

    async def ask() -> int:
        if counter.asked:
            raise Overloaded("no replica has room")
        return await counter.ask()

    async def twice() -> list[int]:
        remembered = Remembered(ask, fresh_s=-1)
        return [await remembered.get(), await remembered.get()]

    assert asyncio.run(twice()) == [1, 1]


def test_a_failure_is_not_remembered() -> None:
    """The next one asks again."""
    answers = iter([ZeroDivisionError, 7])

    async def ask() -> int:
        answer = next(answers)
        if answer is ZeroDivisionError:
            raise ZeroDivisionError
        return 7

    async def twice() -> int:
        remembered = Remembered(ask, fresh_s=math.inf)
        with pytest.raises(ZeroDivisionError):
            await remembered.get()
        return await remembered.get()

    assert asyncio.run(twice()) == 7


def test_the_latest_answer_is_there_at_once_and_renewed_beside() -> None:
    """However old it is; the next caller has a new one."""

    async def ask_thrice() -> list[int]:
        remembered = Remembered(Counter().ask, fresh_s=-1)
        answers = [await remembered.latest(), await remembered.latest()]
        await others_done()
        return [*answers, await remembered.latest()]

    assert asyncio.run(ask_thrice()) == [1, 1, 2]


def test_the_latest_answer_outlives_a_silent_deployment(caplog: pytest.LogCaptureFixture) -> None:
    """It is a hint; that it could not be renewed is logged."""

    async def go_silent() -> int:
        counter = Counter()

        async def ask() -> int:
            if counter.asked:
                await asyncio.Event().wait()
            return await counter.ask()

        remembered = Remembered(ask, fresh_s=-1, timeout_s=0.01)
        await remembered.latest()
        answer = await remembered.latest()
        await others_done()
        return answer

    assert asyncio.run(go_silent()) == 1
    assert "goes on being used" in caplog.text
