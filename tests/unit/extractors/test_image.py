"""Bytes to an upright RGB picture."""

import random
import struct
import zlib
from contextlib import suppress
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from serve_app.errors import Undecodable
from serve_app.extractors.image import decode, make_upright
from tests.unit.conftest import Encode

MAX_PIXELS = 50_000_000


@pytest.fixture(scope="module")
def gradient() -> Image.Image:
    """Dark at the top left, red to the right, green to the bottom; wider than high."""
    y, x = np.mgrid[0:120, 0:200]
    return Image.fromarray(np.stack([x, 2 * y, np.full_like(x, 40)], axis=-1).astype(np.uint8))


def pixels(image: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.asarray(decode(image, max_pixels=MAX_PIXELS).pixels, dtype=np.int64)


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_lossless_formats_come_through_unchanged(gradient: Image.Image, encode: Encode, kind: str) -> None:
    """RGB as it was saved."""
    assert (pixels(encode(gradient, kind)) == np.asarray(gradient)).all()


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1"])
def test_every_png_mode_becomes_rgb(gradient: Image.Image, encode: Encode, mode: str) -> None:
    """As Pillow converts them; alpha is dropped."""
    converted = gradient.convert(mode)
    assert (pixels(encode(converted)) == np.asarray(converted.convert("RGB"))).all()


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_every_jpeg_mode_becomes_rgb(gradient: Image.Image, encode: Encode, mode: str) -> None:
    """Gray and CMYK JPEGs look like the picture they were made from."""
    expected = np.asarray(gradient.convert(mode).convert("RGB"), dtype=np.int64)
    assert np.abs(pixels(encode(gradient.convert(mode), "JPEG", quality=95)) - expected).mean() < 4


def test_sixteen_bit_gray_is_scaled_not_clipped(encode: Encode) -> None:
    """65535 is white and half of it is gray."""
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)
    decoded = pixels(encode(Image.fromarray(np.tile(ramp, (8, 1)))))
    assert np.abs(decoded[0, :, 0] - np.arange(256)).max() <= 1


def test_sixteen_bit_rgb_is_scaled() -> None:
    """Pillow cannot write such a PNG, but cameras' tools do."""
    red = decode(png_16_bit_rgb(4, 2, (0xFFFF, 0x8000, 0)), max_pixels=MAX_PIXELS).pixels
    assert red.getpixel((3, 1)) == (255, 128, 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_turns_the_picture_upright(gradient: Image.Image, encode: Encode, orientation: int) -> None:
    """Whatever way the camera was held, the dark corner is at the top left again."""
    stored = {
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }.get(orientation, [])
    turned = gradient
    for transpose in stored:
        turned = turned.transpose(transpose)
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = decode(encode(turned, exif=exif), max_pixels=MAX_PIXELS)
    assert picture.full_size == gradient.size
    assert picture.orientation == orientation
    assert (np.asarray(picture.pixels) == np.asarray(gradient)).all()


def test_the_orientation_may_be_anywhere_in_the_file(gradient: Image.Image, encode: Encode) -> None:
    """Behind a PNG's pixels, behind a JPEG's colour profile of several segments, in XMP alone."""
    exif = Image.Exif()
    exif[0x0112] = 6
    png, jpeg = encode(gradient, exif=exif), encode(gradient, "JPEG", exif=exif)
    chunk, end = png.index(b"eXIf") - 4, png.index(b"IDAT") - 4
    behind_pixels = png[:chunk] + png[end:-12] + png[chunk:end] + png[-12:]
    segment = b"\xff\xfe\xff\xff" + bytes(65533)
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    for image in (
        behind_pixels,
        jpeg[:2] + 3 * segment + jpeg[2:],
        encode(gradient, "JPEG", xmp=xmp),
    ):
        assert decode(image, max_pixels=MAX_PIXELS).orientation == 6


def test_an_upright_image_keeps_its_bytes(gradient: Image.Image, encode: Encode) -> None:
    """Another encoding of the same picture moves landmarks by pixels."""
    image = encode(gradient, "JPEG")
    assert make_upright(image, max_pixels=MAX_PIXELS).image is image


def test_a_bmp_that_does_not_say_its_size_becomes_a_png(gradient: Image.Image, encode: Encode) -> None:
    """OpenFace's reader refuses it; Pillow, as most, does not look at that number."""
    image = encode(gradient, "BMP")
    assert make_upright(image, max_pixels=MAX_PIXELS).image is image
    upright = make_upright(image[:2] + bytes(4) + image[6:], max_pixels=MAX_PIXELS)
    assert (upright.image[:4], upright.orientation) == (b"\x89PNG", 1)
    assert (pixels(upright.image) == np.asarray(gradient)).all()


def test_an_image_on_its_side_becomes_an_upright_png(gradient: Image.Image, encode: Encode) -> None:
    """At its full size, without loss, and with no EXIF left to turn it again."""
    large = gradient.resize((2000, 1200))
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = make_upright(encode(large.transpose(Image.Transpose.ROTATE_90), exif=exif), max_pixels=MAX_PIXELS)
    assert upright.orientation == 6
    with Image.open(BytesIO(upright.image)) as opened:
        assert (opened.format, opened.getexif().get(0x0112)) == ("PNG", None)
        assert (np.asarray(opened) == np.asarray(large)).all()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("exif", [b"Exif\0\0MM\0*garbage", b"Exif\0\0no TIFF header"])
def test_damaged_exif_is_ignored(gradient: Image.Image, encode: Encode, kind: str, exif: bytes) -> None:
    """A picture is readable without its metadata."""
    picture = decode(encode(gradient, kind, exif=exif), max_pixels=MAX_PIXELS)
    assert (picture.full_size, picture.orientation) == ((200, 120), 1)


@pytest.mark.parametrize(("width", "decoded"), [(640, 640), (1279, 1279), (1280, 640), (2600, 650), (4001, 1001)])
def test_a_large_jpeg_is_decoded_at_a_fraction(encode: Encode, width: int, decoded: int) -> None:
    """At the smallest eighth, quarter or half whose long side is 640 px or more."""
    image = encode(Image.new("RGB", (width, 300)), "JPEG")
    picture = decode(image, max_pixels=MAX_PIXELS)
    assert picture.pixels.width == decoded
    assert picture.full_size == (width, 300)
    assert picture.scale == round(width / decoded)  # 4001 px are decoded into 1001, the last of them a part of one
    assert decode(image, max_pixels=MAX_PIXELS, full=True).pixels.width == width


def test_a_large_jpeg_of_an_odd_width_is_scaled_alike_both_ways(encode: Encode) -> None:
    """What the last column is short of would be a hundred times as much at the end of a long side."""
    assert decode(encode(Image.new("RGB", (1001, 5121)), "JPEG"), max_pixels=MAX_PIXELS).scale == 8


@pytest.fixture(scope="module", params=["JPEG", "PNG", "BMP"])
def noise(encode: Encode, request: pytest.FixtureRequest) -> dict[str, bytes]:
    """A small and a large picture in each format."""
    speckled = Image.effect_noise((64, 64), 40).convert("RGB")
    sizes = {"small": (320, 240), "large": (2560, 1920)}
    return {name: encode(speckled.resize(size), request.param, compress_level=1) for name, size in sizes.items()}


@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.98, 1.0])
def test_a_cut_off_file_is_undecodable(noise: dict[str, bytes], size: str, kept: float) -> None:
    """However little is missing: no picture is made of half a file."""
    image = noise[size]
    with pytest.raises(Undecodable, match="not a whole JPEG, PNG or BMP"):
        decode(image[: min(int(len(image) * kept), len(image) - 8)], max_pixels=MAX_PIXELS)


@pytest.mark.parametrize("image", [b"", b"just some text\n" * 40, b"\xff\xd8" + bytes(500), b"BM" + bytes(50)])
def test_other_bytes_are_undecodable(image: bytes) -> None:
    """An empty file, a text with a picture's name, and headers without a picture."""
    with pytest.raises(Undecodable, match="send the file again"):
        decode(image, max_pixels=MAX_PIXELS)


def test_other_formats_are_undecodable(gradient: Image.Image, encode: Encode) -> None:
    """Pillow could read a GIF; this service says which formats it takes."""
    with pytest.raises(Undecodable, match="JPEG, PNG or BMP"):
        decode(encode(gradient.convert("P"), "GIF"), max_pixels=MAX_PIXELS)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
def test_spoilt_bytes_raise_nothing_else(gradient: Image.Image, encode: Encode, kind: str) -> None:
    """Whatever Pillow makes of flipped bytes, the outcome is a picture or Undecodable."""
    image, chance = encode(gradient, kind), random.Random(0)
    for _ in range(100):
        spoilt = bytearray(image)
        for _ in range(6):
            spoilt[chance.randrange(min(len(spoilt), 400))] = chance.randrange(256)
        with suppress(Undecodable):
            decode(bytes(spoilt), max_pixels=MAX_PIXELS)


def test_too_many_pixels_are_refused_from_the_header(encode: Encode) -> None:
    """60 megapixels are named in the message and never unpacked."""
    with pytest.raises(Undecodable, match=r"10000 x 6000, 60,000,000 pixels; at most 50,000,000 .* send a smaller one"):
        decode(encode(Image.new("1", (10_000, 6_000))), max_pixels=MAX_PIXELS)


def test_a_jpeg_of_many_scans_is_undecodable(gradient: Image.Image, encode: Encode) -> None:
    """A scan of a few bytes costs a pass over all pixels: half a megabyte of them would take a minute."""
    image = encode(gradient, "JPEG", progressive=True)
    last_scan = image[image.rindex(b"\xff\xda") : -2]
    assert decode(image, max_pixels=MAX_PIXELS).pixels.size == gradient.size
    with pytest.raises(Undecodable, match="more than 100 scans"):
        decode(image[:-2] + 100 * last_scan + image[-2:], max_pixels=MAX_PIXELS)


@pytest.mark.parametrize("n_bytes", [5_000, 500_000])
def test_bytes_after_a_whole_png_are_ignored(gradient: Image.Image, encode: Encode, n_bytes: int) -> None:
    """Some tools append what only they read."""
    assert decode(encode(gradient) + bytes(n_bytes), max_pixels=MAX_PIXELS).pixels.size == gradient.size


@pytest.mark.parametrize("side", [10_000, 14_000])
def test_a_decompression_bomb_is_undecodable(encode: Encode, side: int) -> None:
    """Pillow's own limits, a warning and an error, mean the same to a client."""
    with pytest.raises(Undecodable, match="far over the pixel limit"):
        decode(encode(Image.new("1", (side, side)), compress_level=1), max_pixels=MAX_PIXELS)


def png_16_bit_rgb(width: int, height: int, color: tuple[int, int, int]) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    row = b"\0" + struct.pack(">3H", *color) * width
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row * height)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body
