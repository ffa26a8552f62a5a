"""Bytes to an upright picture: decoded, checked to be whole, and turned as EXIF says."""

import re
import struct
from dataclasses import dataclass
from io import BytesIO
from itertools import islice

import numpy as np
from PIL import Image

from serve_app.errors import Undecodable

FORMATS = ("JPEG", "PNG", "BMP")
MIN_LONG_SIDE_PX = 640  # a JPEG decodes at 1/2, 1/4 or 1/8 for little; below 640 px small faces get lost

_NOT_WHOLE = f"the bytes are not a whole {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image; send the file again"
_EXIF_ORIENTATION = 0x0112
_JPEG = b"\xff\xd8"  # also of an MPO, which Pillow reads as one
_BMP = b"BM"
_SCAN = re.compile(rb"\xff\xda\x00")  # starts a scan; data holds it by chance once in 16 MB
_MAX_SCANS = 100  # of all pictures in a file: each costs a pass over all pixels. Writers make about ten of one
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow's decoders raise on bytes that are cut off or garbled.
_DECODING_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, OverflowError)
_TOO_LARGE = (Image.DecompressionBombError, Image.DecompressionBombWarning)


@dataclass(frozen=True)
class Picture:
    """Upright RGB ``pixels``, one of which is ``scale`` px of the full image, of size ``full_size`` px.

    ``orientation`` is the EXIF orientation (1..8) of the bytes; the pixels were turned by it.
    """

    pixels: Image.Image
    scale: float
    full_size: tuple[int, int]
    orientation: int = 1


@dataclass(frozen=True)
class UprightImage:
    """An image's bytes that need no turning, and the EXIF orientation (1 to 8) of those that they were made from."""

    image: bytes
    orientation: int


def decode(image: bytes, *, max_pixels: int, full: bool = False) -> Picture:
    """Decode an image, a large JPEG at a fraction of its size unless ``full``.

    Raises:
        Undecodable: the bytes are not a whole JPEG, PNG or BMP, or hold more than ``max_pixels``.
    """
    try:
        with Image.open(BytesIO(image), formats=FORMATS) as opened:
            _check_size(opened, max_pixels)
            _check_scans(image)
            width, height = opened.size
            if not full:
                _draft(opened)
            opened.load()
            if opened.format == "PNG" and image.rfind(b"IEND") < 0:
                raise Undecodable(_NOT_WHOLE)  # Pillow reads a PNG whose last chunk is cut off
            orientation = _read_orientation(opened)
            pixels = _rgb(opened)
    except _TOO_LARGE as exc:
        raise Undecodable("the image is far over the pixel limit; send a smaller one") from exc
    except _DECODING_ERRORS as exc:
        raise Undecodable(_NOT_WHOLE) from exc
    scale = float(round(max(width, height) / max(pixels.size)))  # a decoded fraction of a side is rounded up
    if orientation in _UPRIGHT:
        pixels = pixels.transpose(_UPRIGHT[orientation])
    return Picture(pixels, scale, (height, width) if orientation >= 5 else (width, height), orientation)


def make_upright(image: bytes, *, max_pixels: int) -> UprightImage:
    """Take the image as it is; of one that lies otherwise by EXIF, or that OpenFace cannot read, make an upright PNG.

    Raises:
        Undecodable: as ``decode``.
    """
    orientation = decode(image, max_pixels=max_pixels).orientation
    if orientation == 1 and not _is_bmp_without_size(image):
        return UprightImage(image, orientation)
    file = BytesIO()
    upright = decode(image, max_pixels=max_pixels, full=True).pixels
    upright.save(file, "PNG", compress_level=1)  # lossless, and read once by a process of this machine
    return UprightImage(file.getvalue(), orientation)


def _check_size(opened: Image.Image, max_pixels: int) -> None:
    n_pixels = opened.width * opened.height
    if n_pixels > max_pixels:
        raise Undecodable(
            f"the image is {opened.width} x {opened.height}, {n_pixels:,} pixels; "
            f"at most {max_pixels:,} are decoded: send a smaller one"
        )


def _check_scans(image: bytes) -> None:
    """Refuse a progressive JPEG that would take the decoder minutes, during which nothing could stop it."""
    if image.startswith(_JPEG) and next(islice(_SCAN.finditer(image), _MAX_SCANS, None), None) is not None:
        raise Undecodable(f"the image has more than {_MAX_SCANS} scans; save it again as a usual JPEG")


def _is_bmp_without_size(image: bytes) -> bool:
    """Whether the header has a BMP end before its pixels: some writers leave the size 0, and FFmpeg refuses that."""
    size_bytes, offset_bytes = (int.from_bytes(image[at : at + 4], "little") for at in (2, 10))
    return image.startswith(_BMP) and size_bytes <= offset_bytes


def _read_orientation(opened: Image.Image) -> int:
    """Read the EXIF orientation (1 to 8) of a picture; 1, upright, where its metadata is absent or damaged."""
    try:
        orientation = opened.getexif().get(_EXIF_ORIENTATION, 1)
    except (OSError, SyntaxError, ValueError, struct.error, OverflowError):
        return 1
    return orientation if orientation in range(1, 9) else 1


def _draft(opened: Image.Image) -> None:
    """Let a JPEG decode at the smallest size whose long side is still ``MIN_LONG_SIDE_PX``."""
    fraction = MIN_LONG_SIDE_PX / max(opened.size)
    if fraction < 1:
        opened.draft(None, (max(1, int(opened.width * fraction)), max(1, int(opened.height * fraction))))


def _rgb(opened: Image.Image) -> Image.Image:
    """Convert any mode to RGB; alpha is dropped, as OpenFace drops it."""
    if opened.mode.startswith("I"):  # 16-bit gray: Pillow's own conversion clips it at 255
        samples = np.asarray(opened) >> 8
        opened = Image.fromarray(np.clip(samples, 0, 255, out=samples).astype(np.uint8))
    return opened if opened.mode == "RGB" else opened.convert("RGB")
