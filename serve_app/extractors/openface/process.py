"""One FeatureExtraction process that works through the slots of its scratch folder, in order."""

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice, product
from pathlib import Path
from string import ascii_lowercase

from serve_app.errors import ExtractionFailed, OpenFaceUnusable
from serve_app.extractors.openface.command import command_line, environment
from serve_app.extractors.openface.folders import ScratchFolder
from serve_app.extractors.openface.output import Output
from serve_app.extractors.openface.patience import Patience
from serve_app.settings import OpenFaceSettings

MAX_FAILED_STARTS = 3  # in a row; then the health check has the replica replaced
DOES_NOT_START = "OpenFace does not start at the moment; send this frame again in a minute"

_KILL_TIMEOUT_S = 10.0
_EXIT_TIMEOUT_S = 1.0  # from the end of its output
_SLOT_LETTERS = 4


def slot_names(count: int) -> list[str]:
    """Name slots so that no reader of OpenCV sees more in a name than a name.

    Not `.jpg`: FFmpeg would not read a FIFO of that name. One digit, the same in all, because OpenCV's own
    image reader demands one, and takes the name with the next number for the next frame.
    """
    letters = islice(product(ascii_lowercase, repeat=_SLOT_LETTERS), count)
    return [f"{''.join(word)}0.bin" for word in letters]


class SlotProcess:
    """A running FeatureExtraction. It asks for a slot when it is done with the one before.

    Behind the slots stands one more name that is never a file, so that the last slot's end is heard of, too.
    """

    def __init__(
        self, binary: Path, settings: OpenFaceSettings, folder: ScratchFolder, slots: Sequence[str], *, fifos: bool
    ) -> None:
        self.folder = folder
        self.slots = slots
        names = [*slots, slot_names(len(slots) + 1)[-1]]
        try:
            self._child = subprocess.Popen(  # noqa: S603 - own argv, no shell
                command_line(binary, settings, names),
                cwd=folder.path,
                env=environment(folder.path, fifos=fifos),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as exc:
            folder.remove()
            raise OpenFaceUnusable(f"{binary} cannot be started: {exc}") from exc
        if self._child.stdout is None or self._child.stderr is None:
            raise AssertionError("both were asked for as pipes")
        indices = {name.encode(): index for index, name in enumerate(names)}
        self.output = Output(self._child.stdout, self._child.stderr, indices)

    @property
    def pid(self) -> int:
        """The process id, and that of its group."""
        return self._child.pid

    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._child.poll() is None

    def pin(self, core: int) -> None:
        """Keep it on one core; threads that it starts later inherit that."""
        with suppress(OSError):  # it has ended, or the core is not ours any more: slower, not wrong
            os.sched_setaffinity(self.pid, {core})

    def wait_until_asked(self, slot: int, patience: Patience) -> None:
        """Wait until the process asks for a slot, which means that it is done with those before.

        Raises:
            ExtractionFailed: it ended before, or the caller left.
            FrameTimeout: it took too long.
        """
        while self.output.asked < slot:
            self.raise_if_ended()
            self.output.wait(patience.tick_s())

    def raise_if_ended(self) -> None:
        """Raise ExtractionFailed, saying how it ended, if it has."""
        if self.output.ended:
            raise ExtractionFailed(f"OpenFace ended on this frame ({self._describe_end()})")

    def collect_csv(self, slot: int) -> bytes:
        """Read a finished slot's CSV, and delete all that the slot left.

        Raises:
            ExtractionFailed: it has none.
        """
        stem = self.folder.path / Path(self.slots[slot]).stem
        csv_file = stem.with_suffix(".csv")
        try:
            return csv_file.read_bytes()
        except FileNotFoundError as exc:
            raise ExtractionFailed("OpenFace could not read this picture: it wrote no CSV for it") from exc
        finally:
            for leftover in (csv_file, stem.with_name(f"{stem.name}_of_details.txt"), stem.with_suffix(".bin")):
                leftover.unlink(missing_ok=True)

    def kill(self) -> None:
        """Kill its group: it holds nothing worth an orderly end."""
        if self.is_alive():  # not reaped yet, so that the id is still its own
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Kill and reap it, and remove its folder; once more does nothing."""
        if not self.output.closed:
            self.kill()
            with suppress(subprocess.TimeoutExpired):  # in uninterruptible I/O: the kernel ends it when that is over
                self._child.wait(_KILL_TIMEOUT_S)
            self.output.close()
            self.folder.remove()

    def _describe_end(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            status = self._child.wait(_EXIT_TIMEOUT_S)
            return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        return "it closed its output and went on"
