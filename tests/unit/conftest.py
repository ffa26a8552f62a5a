"""What costs time or comes from outside: the loaded extractor, the demo portrait, the golden frames."""

import gc
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import pytest
from PIL import Image

from serve_app.demo import fetch_portrait
from serve_app.errors import SetupError
from serve_app.extractors.facemesh.extractor import FaceMeshExtractor
from serve_app.settings import ExtractorSettings, cache_dir
from serve_app.wheels import Download, PinnedWheel

GOLDEN = Path(__file__).parents[2].parent / "shared" / "golden"

Encode = Callable[..., bytes]
FakeWheel = Callable[[Mapping[str, bytes]], Download]


class Clock:
    """A monotonic clock that stands until it is set."""

    now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


def pytest_collection_finish() -> None:
    """What was imported stays; else the collector of garbage walks through torch and Ray again and again, for 3 s."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def python_of_the_tests() -> Iterator[None]:
    """The fake binary's `env python3` is this Python: through pyenv's shim each start takes 90 ms in place of 9."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        yield


@pytest.fixture(scope="session")
def extractor() -> FaceMeshExtractor:
    """The extractor on the cached networks; absent ones fail the test with the command that fetches them."""
    return FaceMeshExtractor(ExtractorSettings())


@pytest.fixture(scope="session")
def portrait() -> bytes:
    """The demo portrait's PNG, from the cache."""

    def refuse(_: PinnedWheel, __: Path) -> None:
        raise SetupError("the demo portrait is not in the cache; run `deepfake-serve fetch-weights --portrait`")

    return fetch_portrait(cache_dir(), download=refuse)


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of frames with OpenFace's own output."""
    if not GOLDEN.is_dir():
        pytest.skip(f"{GOLDEN} is absent: it is not part of the repository")
    return GOLDEN


@pytest.fixture(scope="session")
def encode() -> Encode:
    """Encodes a Pillow image."""

    def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
        file = BytesIO()
        image.save(file, kind, **options)
        return file.getvalue()

    return encoded


@pytest.fixture
def fake_wheel() -> FakeWheel:
    """Makes a downloader whose wheel holds the given files."""

    def holding(members: Mapping[str, bytes]) -> Download:
        def download(_: PinnedWheel, folder: Path) -> None:
            with ZipFile(folder / "fake-1-py3-none-any.whl", "w") as archive:
                for member, content in members.items():
                    archive.writestr(member, content)

        return download

    return holding


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time that ``serve_app.queues`` goes by."""
    clock = Clock()
    monkeypatch.setattr("serve_app.queues.time", clock)
    return clock
