"""Scratch folders under TEMP_DIR: one for each process, none left behind.

A folder is locked as long as its owner lives; the kernel opens the lock however the owner dies, so that
whoever starts next can tell leftovers from folders in use, pid namespaces and reused pids notwithstanding.
"""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from serve_app.errors import OpenFaceUnusable

FIFO_GLOB = "*.bin"
_PREFIX = "openface-"
_LOCK_TIMEOUT_S = 10.0
_LOCK_POLL_S = 0.01


class ScratchFolder:
    """A new folder under ``temp_dir``, named after this process and locked by it."""

    def __init__(self, temp_dir: Path) -> None:
        with locked(temp_dir):
            self.path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=temp_dir))
            self._lock = os.open(self.path, os.O_RDONLY)
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        """Delete it with all that is in it; once more does nothing."""
        if self._lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1


@contextmanager
def locked(temp_dir: Path) -> Iterator[None]:
    """Hold the folder itself: none of our processes makes or sweeps anything in it meanwhile.

    Raises:
        OpenFaceUnusable: it cannot be made, or is held by a process that does not go on; or what is done in it
            meanwhile fails, for want of rights or room.
    """
    try:
        temp_dir.mkdir(parents=True, exist_ok=True)
        directory = os.open(temp_dir, os.O_RDONLY)
        try:
            _wait_for_lock(directory, temp_dir)
            yield
        finally:
            os.close(directory)
    except OSError as exc:
        raise OpenFaceUnusable(
            f"TEMP_DIR {temp_dir} cannot be used: {exc}; set TEMP_DIR to a writable folder of this user's, with room"
        ) from exc


def sweep(temp_dir: Path) -> int:
    """Remove what dead processes left, end what still works there, and return how many folders that was."""
    with locked(temp_dir):
        leftovers = [folder for folder in temp_dir.glob(f"{_PREFIX}*") if _is_orphaned(folder)]
        for folder in leftovers:
            _wake_readers(folder)
            shutil.rmtree(folder, ignore_errors=True)
    return len(leftovers)


def _try_lock(descriptor: int) -> bool:
    """Lock an open file or folder unless another process has."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait_for_lock(directory: int, temp_dir: Path) -> None:
    deadline = time.monotonic() + _LOCK_TIMEOUT_S
    while not _try_lock(directory):
        if time.monotonic() > deadline:
            raise OpenFaceUnusable(
                f"TEMP_DIR {temp_dir} is held by a process that does not go on; see `lsof {temp_dir}`"
            )
        time.sleep(_LOCK_POLL_S)


def _is_orphaned(folder: Path) -> bool:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        return _try_lock(descriptor)
    finally:
        os.close(descriptor)


def _wake_readers(folder: Path) -> None:
    """End an OpenFace whose owner is gone: one that waits for a frame reads an empty one, and exits on it."""
    for fifo in folder.glob(FIFO_GLOB):
        with suppress(OSError):  # ENXIO: no one reads it
            os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
