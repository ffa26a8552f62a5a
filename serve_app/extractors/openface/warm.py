"""A warm FeatureExtraction process: loaded, tried out, and fed one frame after the other through FIFOs.

OpenCV gives up a file that takes more than 30 s to open, and OpenFace ends at a file that it cannot open. A slot
that it has asked for must therefore not stay empty for long: an idle process is kept fresh with specks.
"""

import errno
import logging
import os
import time
from pathlib import Path
from threading import Lock

from serve_app.errors import ExtractionFailed, FrameError, OpenFaceUnusable
from serve_app.extractors.openface.folders import ScratchFolder
from serve_app.extractors.openface.patience import Patience
from serve_app.extractors.openface.portrait import draw_face, draw_speck
from serve_app.extractors.openface.process import SlotProcess, slot_names
from serve_app.extractors.openface.row import Generation, checked_csv, generation_of
from serve_app.settings import OpenFaceSettings

logger = logging.getLogger(__name__)

_WRITE_BYTES = 65536  # what a pipe holds
_READER_POLL_S = 0.002


class WarmProcess:
    """A SlotProcess on FIFOs that waits for frames; it takes them in turn."""

    def __init__(self, binary: Path, settings: OpenFaceSettings, core: int | None, patience: Patience) -> None:
        """Start it, load its models, and have it look at two pictures of our own.

        Raises:
            OpenFaceUnusable: it does not do that as OpenFace does, or not while there is ``patience``.
        """
        self.generation: Generation
        """What wrote the CSVs so far."""
        self.load_s: float
        self._next = 0
        self._turn = Lock()
        began = self._asked_at = time.monotonic()
        self._process = SlotProcess(binary, settings, *_make_fifos(settings), fifos=True)
        try:
            if core is not None:
                self._process.pin(core)
            self._process.wait_until_asked(0, patience)
            self.load_s = time.monotonic() - began
            self._warm_up(patience)
        except FrameError as exc:
            last_words = self._process.output.last_words
            self.close()
            raise OpenFaceUnusable(f"{binary} does not answer as OpenFace does: {exc}. It said: {last_words}") from exc
        except BaseException:  # Ctrl-C in the doctor: a load takes seconds
            self.close()
            raise
        logger.info("%s, generation %s, is warm after %.1f s", binary, self.generation, time.monotonic() - began)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def frames_left(self) -> int:
        """How many frames it still takes."""
        return len(self._process.slots) - self._next

    def is_usable(self) -> bool:
        """Whether it lives and waits for a frame."""
        with self._turn:
            return self.frames_left > 0 and self._process.output.asked == self._next and self._process.is_alive()

    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._process.is_alive()

    def extract(self, image: bytes, patience: Patience) -> bytes:
        """Have it look at one frame; return its CSV, the zero row where it found no face.

        Raises:
            FrameError: it did not, in time or at all; ``is_usable`` says whether it takes another.
        """
        with self._turn:
            return self._extract(image, patience)

    def refresh(self, *, idle_s: float, timeout_s: float) -> None:
        """Have it look at a speck if it has waited for a frame as long as that; a process that cannot is ended."""
        if time.monotonic() - self._asked_at < idle_s or not self._turn.acquire(blocking=False):
            return
        try:
            if self.frames_left > 0 and self._process.is_alive():
                self._extract(draw_speck(), Patience(timeout_s, what="looking at a speck"))
        except FrameError as exc:
            logger.warning("an idle OpenFace is replaced: %s", exc)
            self._process.kill()
        finally:
            self._turn.release()

    def close(self) -> None:
        """End it, and remove what it left."""
        self._process.kill()  # before its turn: whoever waits for it sees its end
        with self._turn:
            self._process.close()

    def _extract(self, image: bytes, patience: Patience) -> bytes:
        slot, self._next = self._next, self._next + 1
        fifo = self._open_fifo(slot, patience)
        try:
            self._write(fifo, image, patience)
        finally:
            os.close(fifo)  # the end of the file
        self._process.wait_until_asked(slot + 1, patience)
        self._asked_at = time.monotonic()
        csv = self._process.collect_csv(slot)
        self.generation = generation_of(csv)
        return checked_csv(csv)

    def _warm_up(self, patience: Patience) -> None:
        """First a speck: the first picture of a process is searched in another way than all others."""
        self.extract(draw_speck(), patience)
        self.extract(draw_face(), patience)

    def _open_fifo(self, slot: int, patience: Patience) -> int:
        """Open without blocking, which would last for ever if the process dies now."""
        path = self._process.folder.path / self._process.slots[slot]
        while True:
            try:
                return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError as exc:  # ENXIO: it has asked for the slot, and opens it in a moment
                if exc.errno != errno.ENXIO:
                    raise ExtractionFailed(f"a FIFO in TEMP_DIR cannot be opened: {exc.strerror}") from exc
            self._process.raise_if_ended()
            self._process.output.wait(min(_READER_POLL_S, patience.tick_s()))

    def _write(self, fifo: int, image: bytes, patience: Patience) -> None:
        rest = memoryview(image)
        while rest and not self._process.output.ended:
            if self._process.output.wait(patience.tick_s(), writable=fifo):
                try:
                    rest = rest[os.write(fifo, rest[:_WRITE_BYTES]) :]
                except BrokenPipeError:  # it has seen enough of it
                    return


def _make_fifos(settings: OpenFaceSettings) -> tuple[ScratchFolder, list[str]]:
    slots = slot_names(settings.slots)
    folder = ScratchFolder(settings.temp_dir)
    try:
        for name in slots:
            os.mkfifo(folder.path / name)
    except (OSError, AttributeError) as exc:  # AttributeError: this system has no FIFOs
        folder.remove()
        raise OpenFaceUnusable(f"TEMP_DIR {settings.temp_dir} cannot hold FIFOs: {exc}") from exc
    return folder, slots
