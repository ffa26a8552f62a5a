"""Uploaded bytes to frames: what is refused for the whole request, and what only for one frame."""

import struct
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import PurePosixPath

from PIL import Image

from serve_app.errors import NoFiles, PayloadTooLarge, TooManyFrames, Undecodable, UnsupportedFileType
from serve_app.settings import MAX_FRAMES

ACCEPTED_EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp")
_EXIF_ORIENTATION = 0x0112
_JPEG, _PNG, _BMP = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM"
_JPEG_PIXELS = b"\xff\xda"
_SIGNATURES = (_JPEG, _PNG, _BMP)


@dataclass(frozen=True)
class Upload:
    """One file as the client sent it; ``file_name`` is the client's and reaches no file system."""

    file_name: str
    image: bytes


@dataclass(frozen=True)
class Frame:
    """One picture of the request; ``frame_id`` is its position in the upload, from 0."""

    frame_id: int
    image: bytes

    @property
    def csv_name(self) -> str:
        """The name of this frame's CSV, as in the seed's contract."""
        return f"frame_{self.frame_id:04d}.csv"

    @property
    def exif_orientation(self) -> int | None:
        """The EXIF orientation (1 to 8, tag 0x0112) by which extractors turn the picture upright.

        1 where it says nothing; None where nothing can be read.
        """
        if not self.image.startswith(_SIGNATURES):
            return None
        if not _may_hold_exif(self.image):
            return 1  # most frames: not worth opening
        try:
            with (
                warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning),
                Image.open(BytesIO(self.image), formats=("JPEG", "PNG")) as opened,  # the header only
            ):
                return read_orientation(opened)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            return None


def read_orientation(opened: Image.Image) -> int:
    """Read the EXIF orientation (1 to 8) of a picture; 1, upright, where its metadata is absent or damaged."""
    try:
        orientation = opened.getexif().get(_EXIF_ORIENTATION, 1)
    except (OSError, SyntaxError, ValueError, struct.error, OverflowError):
        return 1
    return orientation if orientation in range(1, 9) else 1


def accept_uploads(uploads: Sequence[Upload], *, max_file_bytes: int) -> list[Frame]:
    """Number the uploads as frames, or refuse the request whole.

    Raises:
        NoFiles: the request holds no file.
        TooManyFrames: it holds more than ``MAX_FRAMES``.
        UnsupportedFileType: a name has another extension than ``ACCEPTED_EXTENSIONS``.
        PayloadTooLarge: a file is over ``max_file_bytes``.
    """
    if not uploads:
        raise NoFiles("no frame was uploaded: send 1 to 30 images in the form field 'files'")
    if len(uploads) > MAX_FRAMES:
        raise TooManyFrames(f"{len(uploads)} frames were uploaded, at most {MAX_FRAMES} are taken in one request")
    for position, upload in enumerate(uploads):
        if PurePosixPath(upload.file_name.lower()).suffix not in ACCEPTED_EXTENSIONS:
            accepted = ", ".join(ACCEPTED_EXTENSIONS)
            raise UnsupportedFileType(f"file {position} is named {upload.file_name[-40:]!r}: accepted are {accepted}")
        if len(upload.image) > max_file_bytes:
            raise PayloadTooLarge(f"file {position} has {len(upload.image)} bytes, at most {max_file_bytes} are taken")
    return [Frame(frame_id, upload.image) for frame_id, upload in enumerate(uploads)]


def check_signature(frame: Frame) -> None:
    """Refuse a frame whose first bytes are no picture's, before it costs an extractor anything.

    Raises:
        Undecodable: the frame is empty, or is not JPEG, PNG or BMP whatever its name says.
    """
    if not frame.image:
        raise Undecodable("the file is empty")
    if not frame.image.startswith(_SIGNATURES):
        raise Undecodable("the file is not a JPEG, PNG or BMP picture")


def _may_hold_exif(image: bytes) -> bool:
    """A JPEG's EXIF comes before its pixels; a PNG's may come anywhere, and a BMP has none."""
    if image.startswith(_JPEG):
        return b"Exif" in image[: _jpeg_head_bytes(image)]
    return image.startswith(_PNG) and b"eXIf" in image


def _jpeg_head_bytes(image: bytes) -> int:
    """Where a JPEG's pixels begin, after the last of its segments; where those are damaged, 64 KiB: one segment."""
    start = 2
    while image[start : start + 1] == b"\xff":
        if image.startswith(_JPEG_PIXELS, start):
            return start
        start += 2 + int.from_bytes(image[start + 2 : start + 4])
    return 65536
