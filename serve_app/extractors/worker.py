"""One extractor and the thread that runs it: frames in turn, their failures as values."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import ClassVar, Protocol, TypeVar, runtime_checkable

from serve_app.errors import ExtractionFailed, FrameError
from serve_app.frames import ExtractedFrame
from serve_app.settings import Backend

logger = logging.getLogger(__name__)

Done = TypeVar("Done")


class FrameExtractor(Protocol):
    """A backend: one image to its OpenFace CSV. Not thread-safe but for ``check``."""

    backend: ClassVar[Backend]

    def extract(self, image: bytes, stop: Event | None = None) -> ExtractedFrame:
        """Extract the face, or the zero row where there is none; raises FrameError for what cannot be read.

        Once ``stop`` is set nobody waits for the CSV: what would take seconds is given up.
        """
        ...

    def check(self) -> None:
        """Raise SetupError if it can extract nothing any more."""
        ...

    def close(self) -> None:
        """End what it has started."""
        ...


@runtime_checkable
class ChunkExtractor(Protocol):
    """A backend that takes less time for frames together than one by one."""

    def extract_chunk(self, images: Sequence[bytes], stop: Event | None = None) -> list[ExtractedFrame | FrameError]:
        """Extract several images together: a slot for each."""
        ...


class ExtractionWorker:
    """Runs one extractor, one frame at a time, off the event loop."""

    def __init__(self, extractor: FrameExtractor) -> None:
        self.backend: Backend = extractor.backend
        self.frame_s = 0.0  # how long a frame of the last chunk took
        self._extractor = extractor
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="extract")
        self._turn = asyncio.Semaphore(1)
        self._stop = Event()

    async def extract(self, images: Sequence[bytes]) -> list[ExtractedFrame | FrameError]:
        """Extract each image in order. When a caller is cancelled the frame in hand is given up soon, the rest now."""
        async with self._turn:  # whole chunks in turn: the first to come is the first to be done
            self._stop = stop = Event()
            began = time.perf_counter()
            try:
                if isinstance(self._extractor, ChunkExtractor):
                    return await self._run(self._extract_chunk, self._extractor, images, stop)
                return [await self._run(self._extract, image, stop) for image in images]
            finally:
                stop.set()
                self.frame_s = (time.perf_counter() - began) / max(len(images), 1)

    def check(self) -> None:
        """Raise SetupError if the extractor can extract nothing any more."""
        self._extractor.check()

    def close(self) -> None:
        """Give up the frame in hand, and end what the extractor has started."""
        self._stop.set()
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._extractor.close()

    async def _run(self, work: Callable[..., Done], *args: object) -> Done:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *args)

    def _extract_chunk(
        self, extractor: ChunkExtractor, images: Sequence[bytes], stop: Event
    ) -> list[ExtractedFrame | FrameError]:
        try:
            return extractor.extract_chunk(images, stop)
        except Exception:
            logger.exception("the %s extractor failed on %d frames: each by itself", self.backend, len(images))
            return [self._extract(image, stop) for image in images]

    def _extract(self, image: bytes, stop: Event) -> ExtractedFrame | FrameError:
        try:
            return self._extractor.extract(image, stop)
        except FrameError as error:
            return error
        except Exception:  # a bug on one picture costs that picture only
            logger.exception("the %s extractor failed on a frame of %d bytes", self.backend, len(image))
            return ExtractionFailed("the extractor failed on this frame; its log says why")
