"""The worker that runs one extractor."""

import asyncio
import threading
from collections.abc import Sequence
from typing import ClassVar

import pytest

from serve_app.errors import ExtractionFailed, FrameError, OpenFaceUnusable, Undecodable
from serve_app.extractors.worker import ExtractionWorker
from serve_app.frames import ExtractedFrame
from serve_app.settings import Backend


def extracted(csv: bytes) -> ExtractedFrame:
    return ExtractedFrame(csv, orientation=1)


class Echo:
    """Gives the image back, and fails as the image says."""

    backend: ClassVar[Backend] = "facemesh"

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self.threads: set[int] = set()
        self.gate = threading.Event()
        self.gate.set()
        self.stops: list[threading.Event] = []
        self.begun = threading.Event()
        self.closed = False

    def check(self) -> None:
        if self.closed:
            raise OpenFaceUnusable("closed")

    def close(self) -> None:
        self.closed = True

    def extract(self, image: bytes, stop: threading.Event | None = None) -> ExtractedFrame:
        assert stop is not None
        self.stops.append(stop)
        self.begun.set()
        self.gate.wait(5)
        self.seen.append(image)
        self.threads.add(threading.get_ident())
        if image == b"unreadable":
            raise Undecodable("not a picture")
        if image == b"bug":
            raise ZeroDivisionError("secret")
        return extracted(image)


class Chunks(Echo):
    """Gives all images back together."""

    def extract_chunk(
        self, images: Sequence[bytes], stop: threading.Event | None = None
    ) -> list[ExtractedFrame | FrameError]:
        if b"bug" in images:
            raise ZeroDivisionError
        return [extracted(b"+".join(images))] * len(images)


def test_each_image_has_its_slot(caplog: pytest.LogCaptureFixture) -> None:
    """A failure stands where its image stood; a bug is logged, and not told."""
    slots = asyncio.run(ExtractionWorker(Echo()).extract([b"a", b"unreadable", b"bug", b"b"]))
    assert (slots[0], slots[3]) == (extracted(b"a"), extracted(b"b"))
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
        await asyncio.to_thread(echo.begun.wait, 5)
        abandoned.cancel()
        with pytest.raises(asyncio.CancelledError):
            await abandoned
        echo.gate.set()
        await worker.extract([b"next"])
        return echo.seen

    assert asyncio.run(cancel()) == [b"1", b"next"]


def test_a_caller_that_leaves_is_told_to_the_extractor() -> None:
    """What it does for this caller, and only that, need not be finished."""
    echo = Echo()

    async def cancel() -> None:
        worker = ExtractionWorker(echo)
        echo.gate.clear()
        abandoned = asyncio.create_task(worker.extract([b"1"]))
        await asyncio.to_thread(echo.begun.wait, 5)
        abandoned.cancel()
        following = asyncio.create_task(worker.extract([b"2"]))
        await asyncio.wait([abandoned])
        assert echo.stops[0].is_set()
        echo.gate.set()
        assert await following == [extracted(b"2")]

    asyncio.run(cancel())
    assert echo.stops[0] is not echo.stops[1]


def test_an_extractor_of_chunks_is_given_whole_chunks() -> None:
    """It takes less time for frames together."""
    assert asyncio.run(ExtractionWorker(Chunks()).extract([b"1", b"2"])) == [extracted(b"1+2")] * 2


def test_a_bug_on_one_frame_of_a_chunk_costs_that_frame(caplog: pytest.LogCaptureFixture) -> None:
    """The others are extracted one by one."""
    slots = asyncio.run(ExtractionWorker(Chunks()).extract([b"1", b"bug", b"2"]))
    assert (slots[0], slots[2]) == (extracted(b"1"), extracted(b"2"))
    assert isinstance(slots[1], ExtractionFailed)
    assert "each by itself" in caplog.text


def test_what_a_frame_costs_is_known_without_the_wait_for_its_turn() -> None:
    """The fan-out goes by it."""
    echo = Echo()

    async def two_chunks() -> float:
        worker = ExtractionWorker(echo)
        echo.gate.clear()
        first = asyncio.create_task(worker.extract([b"1"]))
        second = asyncio.create_task(worker.extract([b"2", b"3"]))
        await asyncio.sleep(0.2)
        echo.gate.set()
        await first
        assert worker.frame_s >= 0.15
        await second
        return worker.frame_s

    assert asyncio.run(two_chunks()) < 0.1


def test_health_and_the_end_are_the_extractors() -> None:
    """The worker stops its thread, and lets the extractor end what it has started."""
    echo = Echo()
    worker = ExtractionWorker(echo)
    worker.check()
    worker.close()
    with pytest.raises(OpenFaceUnusable):
        worker.check()
