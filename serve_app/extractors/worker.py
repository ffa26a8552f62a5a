"""One extractor and the thread that runs it: frames in turn, their failures as values."""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar, Protocol

from serve_app.errors import ExtractionFailed, FrameError
from serve_app.settings import Backend

logger = logging.getLogger(__name__)


class FrameExtractor(Protocol):
    """A backend: one image to the bytes of its OpenFace CSV. Not thread-safe."""

    backend: ClassVar[Backend]

    def extract(self, image: bytes) -> bytes:
        """Extract the face, or the zero row where there is none; raises FrameError for what cannot be read."""
        ...


class ExtractionWorker:
    """Runs one extractor, one frame at a time, off the event loop."""

    def __init__(self, extractor: FrameExtractor) -> None:
        self.backend: Backend = extractor.backend
        self._extractor = extractor
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="extract")
        self._turn = asyncio.Semaphore(1)

    async def extract(self, images: Sequence[bytes]) -> list[bytes | FrameError]:
        """Extract each image in order. A caller that is cancelled stops after the frame in hand."""
        loop = asyncio.get_running_loop()
        async with self._turn:  # whole chunks in turn: the first to come is the first to be done
            return [await loop.run_in_executor(self._thread, self._extract, image) for image in images]

    def _extract(self, image: bytes) -> bytes | FrameError:
        try:
            return self._extractor.extract(image)
        except FrameError as error:
            return error
        except Exception:  # a bug on one picture costs that picture only
            logger.exception("the %s extractor failed on a frame of %d bytes", self.backend, len(image))
            return ExtractionFailed("the extractor failed on this frame; its log says why")
