"""Errors in writing that say where: the system's own word for a full disk does not."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Name what is being written, a file or a folder, in whatever keeps it from being written.

    Raises:
        OSError: it cannot be written.
    """
    try:
        yield
    except OSError as exc:
        raise OSError(f"{path} cannot be written: {exc.strerror or exc}") from exc


def make_writable(folder: Path) -> None:
    """Make a folder, unless it is there, and try a file in it: better before an hour of work than after it.

    Raises:
        OSError: nothing can be written there.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
