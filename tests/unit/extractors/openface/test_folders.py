"""Scratch folders."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from serve_app.errors import OpenFaceUnusable
from serve_app.extractors.openface import folders
from serve_app.extractors.openface.folders import ScratchFolder, locked, sweep

KILLED_OWNER = """
import os, signal, sys
from pathlib import Path
from serve_app.extractors.openface.folders import ScratchFolder
folder = ScratchFolder(Path(sys.argv[1]))
os.mkfifo(folder.path / "aaaa0.bin")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def leftover(tmp_path: Path) -> Path:
    """A folder whose owner was killed, with a FIFO in it."""
    subprocess.run([sys.executable, "-c", KILLED_OWNER, str(tmp_path)], check=False, timeout=60)  # noqa: S603 - own argv
    [folder] = tmp_path.iterdir()
    return folder


def test_a_folder_of_a_dead_process_is_swept(leftover: Path) -> None:
    """Whatever its process id is used for now."""
    assert sweep(leftover.parent) == 1
    assert not leftover.exists()


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    """Until its owner removes it; a second removal does nothing."""
    folder = ScratchFolder(tmp_path)
    assert sweep(tmp_path) == 0
    assert folder.path.is_dir()
    folder.remove()
    folder.remove()
    assert list(tmp_path.iterdir()) == []


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    """TEMP_DIR may be shared; a file of that name is no folder of ours."""
    (tmp_path / "openface-notes.txt").touch()
    (tmp_path / "theirs").mkdir()
    assert sweep(tmp_path) == 0
    assert len(list(tmp_path.iterdir())) == 2


def test_a_reader_that_lost_its_owner_is_let_go(leftover: Path) -> None:
    """Without setpriv an OpenFace outlives its replica, waiting for a frame: it gets an empty one."""
    read: list[bytes] = []

    def wait_for_a_frame() -> None:
        read.append((leftover / "aaaa0.bin").read_bytes())

    orphan = threading.Thread(target=wait_for_a_frame)
    orphan.start()
    while not read and orphan.is_alive():  # it may not have opened the FIFO yet
        folders._wake_readers(leftover)
        orphan.join(0.01)
    assert read == [b""]


def test_an_unusable_temp_dir_says_so(tmp_path: Path) -> None:
    """Here a file stands in its place."""
    (tmp_path / "file").touch()
    with pytest.raises(OpenFaceUnusable, match="set TEMP_DIR to a writable folder"):
        ScratchFolder(tmp_path / "file")


def test_a_temp_dir_without_room_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there and can be read, but nothing can be made in it."""

    def refuse(**_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(OpenFaceUnusable, match=r"TEMP_DIR .* No space left on device; set TEMP_DIR to a writable"):
        ScratchFolder(tmp_path)
    assert sweep(tmp_path) == 0  # it is not held any more


def test_a_lock_that_is_never_opened_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the folder."""
    monkeypatch.setattr(folders, "_LOCK_TIMEOUT_S", 0.02)
    with (
        locked(tmp_path),
        pytest.raises(OpenFaceUnusable, match="held by a process that does not go on"),
        locked(tmp_path),
    ):
        pass


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    """Neither by folders nor by locks."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        ScratchFolder(tmp_path).remove()
        sweep(tmp_path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
