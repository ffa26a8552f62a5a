"""The worker that runs one extractor."""

import asyncio
import threading
from typing import ClassVar

import pytest

from serve_app.errors import ExtractionFailed, Undecodable
from serve_app.extractors.worker import ExtractionWorker
from serve_app.settings import Backend


class Echo:
    """Gives the image back, and fails as the image says."""

    backend: ClassVar[Backend] = "facemesh"

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self.threads: set[int] = set()
        self.gate = threading.Event()
        self.gate.set()

    def extract(self, image: bytes) -> bytes:
        self.gate.wait(5)
        self.seen.append(image)
        self.threads.add(threading.get_ident())
        if image == b"unreadable":
            raise Undecodable("not a picture")
        if image == b"bug":
            raise ZeroDivisionError("secret")
        return image


def test_each_image_has_its_slot(caplog: pytest.LogCaptureFixture) -> None:
    """A failure stands where its image stood; a bug is logged, and not told."""
    slots = asyncio.run(ExtractionWorker(Echo()).extract([b"a", b"unreadable", b"bug", b"b"]))
    assert (slots[0], slots[3]) == (b"a", b"b")
    assert isinstance(slots[1], Undecodable)
    assert isinstance(slots[2], ExtractionFailed)
    assert "secret" not in str(slots[2])
    assert "ZeroDivisionError" in caplog.text


def test_chunks_are_done_in_turn_on_one_thread() -> None:
    """The extractor is not thread-safe, and the first to come is the first to be done."""
    echo = Echo()

    async def two_chunks() -> None:
        worker = ExtractionWorker(echo)
        await asyncio.gather(worker.extract([b"1", b"2"]), worker.extract([b"3", b"4"]))

    asyncio.run(two_chunks())
    assert echo.seen == [b"1", b"2", b"3", b"4"]
    assert len(echo.threads) == 1


def test_a_cancelled_chunk_stops_after_the_frame_in_hand() -> None:
    """The next chunk is served at once."""
    echo = Echo()

    async def cancel() -> list[bytes]:
        worker = ExtractionWorker(echo)
        echo.gate.clear()
        abandoned = asyncio.create_task(worker.extract([b"1", b"2", b"3"]))
        await asyncio.sleep(0.01)
        abandoned.cancel()
        with pytest.raises(asyncio.CancelledError):
            await abandoned
        echo.gate.set()
        await worker.extract([b"next"])
        return echo.seen

    assert asyncio.run(cancel()) == [b"1", b"next"]
