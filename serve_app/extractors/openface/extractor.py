"""The OpenFace extractor: a frame's bytes in, out what OpenFace wrote for them, byte for byte."""

import logging
from pathlib import Path
from threading import Event
from typing import ClassVar

from serve_app.errors import ExtractionFailed, OpenFaceUnusable
from serve_app.extractors.image import make_upright
from serve_app.extractors.openface.cores import claim_core
from serve_app.extractors.openface.folders import sweep
from serve_app.extractors.openface.patience import LOADING, Patience
from serve_app.extractors.openface.process import DOES_NOT_START
from serve_app.extractors.openface.supervisor import Supervisor
from serve_app.extractors.openface.warm import WarmProcess
from serve_app.frames import ExtractedFrame
from serve_app.settings import Backend, ExtractorSettings

logger = logging.getLogger(__name__)

_LEAD_FRAMES = 100  # more than are done while the next process loads


class OpenFaceExtractor:
    """One warm FeatureExtraction process on a core of its own; not thread-safe but for ``check``."""

    backend: ClassVar[Backend] = "openface"

    def __init__(self, settings: ExtractorSettings, binary: Path) -> None:
        """Load it; returns when it is warm.

        Raises:
            OpenFaceUnusable: it does not start, or does not answer as OpenFace does.
        """
        self._settings = settings.openface
        self._max_pixels = settings.max_pixels
        self._binary = binary
        n_swept = sweep(self._settings.temp_dir)
        if n_swept:
            logger.info("removed %d folders of dead processes from %s", n_swept, self._settings.temp_dir)
        self._core = claim_core() if self._settings.pin_to_core else None
        self._supervisor = Supervisor(self._start, lead_frames=min(_LEAD_FRAMES, self._settings.slots // 2))
        try:
            self._supervisor.take(Patience(2 * self._settings.load_timeout_s), tries=1)  # the start gives up earlier
        except BaseException:  # Ctrl-C, too: a load takes seconds
            self.close()
            raise

    def extract(self, image: bytes, stop: Event | None = None) -> ExtractedFrame:
        """Have OpenFace look at one image; a row without a face is zero.

        Raises:
            Undecodable: the bytes are not a whole picture; OpenFace would find a face in half of one.
            FrameTimeout: OpenFace did not finish, and was killed.
            ExtractionFailed: it crashed, or wrote no whole CSV, or ``stop`` was set.
        """
        upright = make_upright(image, max_pixels=self._max_pixels)
        try:
            process = self._supervisor.take(Patience(self._settings.load_timeout_s, stop, what=LOADING))
        except OpenFaceUnusable as exc:
            raise ExtractionFailed(DOES_NOT_START) from exc
        try:
            csv = process.extract(upright.image, Patience(self._settings.frame_timeout_s, stop))
        finally:
            self._supervisor.settle()
        return ExtractedFrame(csv, upright.orientation)

    def check(self) -> None:
        """Raise OpenFaceUnusable if the process is dead and cannot be started again."""
        self._supervisor.check()

    def close(self) -> None:
        """End the processes; leave no file, FIFO or claim behind."""
        self._supervisor.close()
        if self._core is not None:
            self._core.release()

    def _start(self, closing: Event) -> WarmProcess:
        core = self._core.core if self._core else None
        return WarmProcess(
            self._binary, self._settings, core, Patience(self._settings.load_timeout_s, closing, what=LOADING)
        )
