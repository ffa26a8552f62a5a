"""OpenFace extractors on the fake binary, each with a TEMP_DIR of its own that must be empty at the end."""

import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from serve_app.extractors.openface.extractor import OpenFaceExtractor
from serve_app.settings import ExtractorSettings, OpenFaceSettings

FAKE = Path(__file__).parents[3] / "fake_feature_extraction.py"

Configure = Callable[..., ExtractorSettings]
Load = Callable[..., OpenFaceExtractor]
Draw = Callable[..., bytes]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def configure(tmp_path: Path) -> Configure:
    """Makes settings for the fake binary."""

    def configured(*flags: str, **options: object) -> ExtractorSettings:
        openface = {
            "binary": FAKE,
            "temp_dir": tmp_path / "temp",
            "slots": 12,
            "frame_timeout_s": 20,
            "load_timeout_s": 20,
            "flags": flags,
        }
        return ExtractorSettings(backend="openface", openface=OpenFaceSettings.model_validate({**openface, **options}))

    return configured


@pytest.fixture
def load(configure: Configure) -> Iterator[Load]:
    """Loads extractors, closes them, and looks for what they left."""
    extractors: list[OpenFaceExtractor] = []
    temp_dirs: set[Path] = set()

    def loaded(*flags: str, **options: object) -> OpenFaceExtractor:
        settings = configure(*flags, **options)
        temp_dirs.add(settings.openface.temp_dir)
        extractors.append(OpenFaceExtractor(settings, FAKE))
        return extractors[-1]

    yield loaded
    for extractor in extractors:
        extractor.close()
    assert [left for temp_dir in temp_dirs for left in temp_dir.iterdir()] == []


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that left is waited for for a tenth of a second; test_patience.py holds how long it is in earnest."""
    monkeypatch.setattr("serve_app.extractors.openface.patience._GRACE_S", 0.1)


@pytest.fixture(scope="session")
def draw() -> Draw:
    """Draws a JPEG that is different for each number, and fails in the fake as asked."""

    def drawn(number: int = 0, failure: str = "") -> bytes:
        file = BytesIO()
        Image.new("RGB", (16, 16), (number % 256, number // 256 % 256, 99)).save(file, "JPEG")
        return file.getvalue() + f"#{number}".encode() + (f"FAKE:{failure}".encode() if failure else b"")

    return drawn
