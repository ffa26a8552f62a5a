"""Uploads to frames."""

import pytest

from serve_app.errors import NoFiles, PayloadTooLarge, TooManyFrames, Undecodable, UnsupportedFileType
from serve_app.frames import Frame, Upload, accept_uploads, check_signature


def uploads(*names: str, image: bytes = b"x") -> list[Upload]:
    return [Upload(name, image) for name in names]


def test_frames_are_numbered_in_upload_order() -> None:
    """The client's names order nothing and name nothing."""
    frames = accept_uploads(uploads("9.jpg", "1.PNG", "../../etc/passwd.bmp", "a.jpeg"), max_file_bytes=1)
    assert [(frame.frame_id, frame.csv_name) for frame in frames[:2]] == [(0, "frame_0000.csv"), (1, "frame_0001.csv")]
    assert len(frames) == 4


@pytest.mark.parametrize("name", ["a.gif", "a.jpg.exe", "jpg", "", ".jpg", "a.tiff", "a.jpg "])
def test_other_extensions_are_refused(name: str) -> None:
    """The seed takes .jpg, .jpeg, .png and .bmp."""
    with pytest.raises(UnsupportedFileType):
        accept_uploads(uploads(name), max_file_bytes=1)


def test_the_limits_are_inclusive() -> None:
    """30 files of the largest size pass; one more, or one byte more, does not."""
    assert len(accept_uploads(uploads(*["a.jpg"] * 30), max_file_bytes=1)) == 30
    with pytest.raises(TooManyFrames, match="31"):
        accept_uploads(uploads(*["a.jpg"] * 31), max_file_bytes=1)
    with pytest.raises(PayloadTooLarge, match="file 0 has 2 bytes"):
        accept_uploads(uploads("a.jpg", image=b"xx"), max_file_bytes=1)
    with pytest.raises(NoFiles):
        accept_uploads([], max_file_bytes=1)


@pytest.mark.parametrize("image", [b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"BM\x00"])
def test_pictures_pass_by_their_first_bytes(image: bytes) -> None:
    """The content decides, not the name."""
    check_signature(Frame(0, image))


@pytest.mark.parametrize("image", [b"", b"GIF89a", b"hello", b"\xff\xd8", b"<svg/>"])
def test_anything_else_is_undecodable(image: bytes) -> None:
    """One frame's failure, not the request's."""
    with pytest.raises(Undecodable):
        check_signature(Frame(0, image))
