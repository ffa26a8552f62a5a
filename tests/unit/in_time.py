"""A test's coroutine, run with a deadline."""

import asyncio
from collections.abc import Awaitable, Callable


def run_within(timeout_s: float, test: Callable[[], Awaitable[None]]) -> None:
    """Run a test on an event loop of its own; TimeoutError once it takes longer."""

    async def in_time() -> None:
        async with asyncio.timeout(timeout_s):
            await test()

    asyncio.run(in_time())
