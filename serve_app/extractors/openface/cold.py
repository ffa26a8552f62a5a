"""The way without FIFOs: one FeatureExtraction process for each chunk of frames, its models loaded each time.

It serves where TEMP_DIR cannot hold FIFOs, and where OpenCV was built without FFmpeg.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from threading import Event
from typing import ClassVar

from serve_app.errors import ExtractionFailed, FrameError, OpenFaceUnusable
from serve_app.extractors.image import UprightImage, make_upright
from serve_app.extractors.openface.cores import claim_core
from serve_app.extractors.openface.folders import ScratchFolder, sweep
from serve_app.extractors.openface.patience import LOADING, Patience
from serve_app.extractors.openface.portrait import draw_speck
from serve_app.extractors.openface.process import DOES_NOT_START, MAX_FAILED_STARTS, SlotProcess, slot_names
from serve_app.extractors.openface.row import checked_csv
from serve_app.frames import ExtractedFrame
from serve_app.settings import Backend, ExtractorSettings

logger = logging.getLogger(__name__)

_PAUSE_S = 2.0


class ColdExtractor:
    """Starts OpenFace for each chunk; a frame that ends the process costs the rest of its chunk another start."""

    backend: ClassVar[Backend] = "openface"

    def __init__(self, settings: ExtractorSettings, binary: Path) -> None:
        """Try it out on one picture.

        Raises:
            OpenFaceUnusable: it does not write what OpenFace writes.
        """
        self._settings = settings.openface
        self._max_pixels = settings.max_pixels
        self._binary = binary
        self._failed_starts = 0
        sweep(self._settings.temp_dir)
        self._core = claim_core() if self._settings.pin_to_core else None
        [tried] = self.extract_chunk([draw_speck()])
        if isinstance(tried, FrameError):
            self.close()
            raise OpenFaceUnusable(f"{binary} does not answer as OpenFace does: {tried}") from tried

    def extract(self, image: bytes, stop: Event | None = None) -> ExtractedFrame:
        """Extract one frame by a process of its own; raises FrameError."""
        [extracted] = self.extract_chunk([image], stop)
        if isinstance(extracted, FrameError):
            raise extracted
        return extracted

    def extract_chunk(self, images: Sequence[bytes], stop: Event | None = None) -> list[ExtractedFrame | FrameError]:
        """Extract each image, or say why not, by as few processes as it takes."""
        outcomes: dict[int, ExtractedFrame | FrameError] = {}
        waiting: dict[int, UprightImage] = {}
        for index, image in enumerate(images):
            try:
                waiting[index] = make_upright(image, max_pixels=self._max_pixels)
            except FrameError as error:
                outcomes[index] = error
        while waiting and not (stop is not None and stop.is_set()):
            csvs = self._run([upright.image for upright in waiting.values()], stop)
            for index, csv in zip(list(waiting), csvs, strict=False):  # fewer where the process did not come further
                upright = waiting.pop(index)
                outcomes[index] = csv if isinstance(csv, FrameError) else ExtractedFrame(csv, upright.orientation)
        outcomes |= {index: ExtractionFailed("the caller left before this frame was begun") for index in waiting}
        return [outcomes[index] for index in range(len(images))]

    def check(self) -> None:
        """Raise OpenFaceUnusable if several starts in a row have failed: the binary is gone, or TEMP_DIR full."""
        if self._failed_starts >= MAX_FAILED_STARTS:
            raise OpenFaceUnusable(f"OpenFace failed to start {self._failed_starts} times, cold; the log says why")

    def close(self) -> None:
        """Give the core back."""
        if self._core is not None:
            self._core.release()

    def _run(self, images: Sequence[bytes], stop: Event | None) -> list[bytes | FrameError]:
        """Have one process work through images; the outcomes end with the one that ended it, if one did."""
        try:
            process = self._start([draw_speck(), *images])  # the first picture is searched in another way
        except OpenFaceUnusable as exc:
            logger.warning("%d frames fail: %s", len(images), exc)
            self._count_failed_start(stop)
            return [ExtractionFailed(DOES_NOT_START)] * len(images)
        outcomes: list[bytes | FrameError] = []
        try:
            process.wait_until_asked(1, Patience(self._settings.load_timeout_s, stop, what=LOADING))
            self._failed_starts = 0
            while len(outcomes) < len(images) and process.output.asked > len(outcomes):
                outcomes.append(self._collect(process, len(outcomes) + 1, stop))
        except FrameError as error:
            self._count_failed_start(stop)
            outcomes = [error] * len(images)
        finally:
            process.close()
        return outcomes

    def _count_failed_start(self, stop: Event | None) -> None:
        """From the second on with a pause: a replica that failed its frames at once would be sent all there are."""
        if stop is None or not stop.is_set():
            self._failed_starts += 1
        if self._failed_starts > 1:
            (stop or Event()).wait(_PAUSE_S)

    def _start(self, images: Sequence[bytes]) -> SlotProcess:
        folder, slots = ScratchFolder(self._settings.temp_dir), slot_names(len(images))
        try:
            for name, image in zip(slots, images, strict=True):
                (folder.path / name).write_bytes(image)
        except OSError as exc:
            folder.remove()
            raise OpenFaceUnusable(f"TEMP_DIR {self._settings.temp_dir} cannot hold the frames: {exc}") from exc
        process = SlotProcess(self._binary, self._settings, folder, slots, fifos=False)
        if self._core is not None:
            process.pin(self._core.core)
        return process

    def _collect(self, process: SlotProcess, slot: int, stop: Event | None) -> bytes | FrameError:
        try:
            process.wait_until_asked(slot + 1, Patience(self._settings.frame_timeout_s, stop))
            return checked_csv(process.collect_csv(slot))
        except FrameError as error:
            return error
