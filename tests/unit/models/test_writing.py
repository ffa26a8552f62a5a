"""What cannot be written, and where."""

import errno
import os
from pathlib import Path

import pytest

from serve_app.models.artifact import write_artifact
from serve_app.models.detector import Detector


def test_a_full_disk_is_told_by_the_folder(detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system names none; it is the one that the model would have had."""

    def fill(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", fill)
    with pytest.raises(OSError, match=r"mobilenetv2_celebv2/1 cannot be written: No space left on device$"):
        write_artifact(tmp_path / "models", detector.manifest, b"", "# A card")
    assert not list((tmp_path / "models").glob("*/1"))
