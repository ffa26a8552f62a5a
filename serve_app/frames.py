"""Frames: what of an upload is refused whole, and what as one frame only; what an extractor makes of one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from serve_app.errors import NoFiles, PayloadTooLarge, TooManyFrames, Undecodable, UnsupportedFileType
from serve_app.settings import MAX_FRAMES

ACCEPTED_EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp")
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM")  # of JPEG, PNG and BMP


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


@dataclass(frozen=True)
class ExtractedFrame:
    """What an extractor made of a frame: its OpenFace ``csv``, and the EXIF orientation (1 to 8) that it undid."""

    csv: bytes
    orientation: int


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
