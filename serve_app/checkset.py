"""The image-level check set: real frames and face swaps of two portraits, seen by a real extractor.

Never trained on. It says whether what was learnt on simulated landmarks holds for pixels; two people are too
few to say how good a detector is.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from serve_app import portraits
from serve_app.demo import encode_jpeg
from serve_app.errors import FrameError, RowsUnusable
from serve_app.extractors.backends import make_extractor
from serve_app.faceswap import LocatedFace, SwapFamily, swap_face
from serve_app.features.schema import FEATURE_SLICES, N_LANDMARKS
from serve_app.features.table import read_face
from serve_app.frames import ExtractedFrame
from serve_app.portraits import PEOPLE
from serve_app.settings import Backend, ExtractorSettings, ParserSettings
from serve_app.talking_head import Motion, animate

Features = npt.NDArray[np.float32]
Extract = Callable[[bytes], ExtractedFrame]

REAL = "real"


@dataclass(frozen=True)
class CheckSet:
    """``n`` rows: ``features`` ``(n, 674) float32``, ``labels`` ``(n,) float32``, 0 real and 1 fake.

    ``family`` ``(n,)`` holds "real" or a ``SwapFamily``'s value, ``person`` ``(n,)`` the target's name, and ``video``
    ``(n,)`` numbers the clips: frames of one clip are no independent samples.
    """

    features: Features
    labels: npt.NDArray[np.float32]
    family: npt.NDArray[np.str_]
    person: npt.NDArray[np.str_]
    video: npt.NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Shot:
    """How clips are taken: the motion, the picture's size in px, the JPEG quality, and which relative of each person.

    ``growths`` ``(2, 3)`` are relative, as in ``Head``.
    """

    motion: Motion
    size: tuple[int, int]
    quality: int
    growths: tuple[tuple[float, float, float], ...]


_STILL = Motion(sway_px=np.array([3.0, 2.0]), roll=0.03, turn_px=np.array([2.0, 1.0]), start=0.1)
SHOTS = (
    Shot(Motion(), (640, 480), 92, ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))),
    Shot(_STILL, (480, 480), 75, ((0.0, 0.06, -0.05), (0.0, -0.06, 0.05))),
    Shot(
        Motion(roll=0.12, turn_px=np.array([6.0, 2.0]), jaw_px=1.5, start=0.3),
        (640, 480),
        85,
        ((0.05, 0.0, 0.05), (0.05, 0.0, -0.08)),
    ),
    Shot(
        Motion(roll=-0.1, turn_px=np.array([-4.0, 4.0]), jaw_px=4.0, start=0.55),
        (480, 640),
        92,
        ((0.0, -0.06, 0.05), (-0.04, 0.04, 0.0)),
    ),
    Shot(
        Motion(zoom=-0.08, turn_px=np.array([3.0, -3.0]), jaw_px=3.5, start=0.8),
        (320, 240),
        95,
        ((-0.04, 0.0, 0.0), (0.0, 0.06, 0.08)),
    ),
    Shot(
        Motion(roll=0.05, turn_px=np.array([-5.0, -2.0]), jaw_px=2.0, start=0.2),
        (640, 640),
        60,
        ((0.04, 0.05, 0.08), (-0.05, -0.03, -0.05)),
    ),
)


_CLIPS_PER_SHOT = len(PEOPLE) * (1 + (len(PEOPLE) - 1) * len(SwapFamily))


@dataclass(frozen=True)
class _Clip:
    """One video: how it was made, whose face it shows, its pictures, and a row for each or None without a face."""

    family: str
    person: str
    pictures: list[Image.Image]
    rows: list[Features | None]

    def face(self, frame: int) -> LocatedFace | None:
        """Where the face of a frame is, as its row says; OpenFace counts px from the middle of the first."""
        row = self.rows[frame]
        if row is None:
            return None
        landmarks = row[FEATURE_SLICES["landmarks_2d"]].reshape(2, N_LANDMARKS).T
        return LocatedFace(self.pictures[frame], landmarks.astype(np.float64) + 0.5)


def make_check_set(
    cache_dir: Path,
    backend: Backend,
    *,
    shots: Sequence[Shot] = SHOTS,
    n_frames: int = 8,
    on_clip: Callable[[int, int], None] = lambda _, __: None,
) -> CheckSet:
    """Make the portraits talk for ``n_frames`` a shot, swap their faces, have every frame extracted. Deterministic.

    ``on_clip`` is told how many clips are done, and of how many. A frame without a face gives no row.

    Raises:
        SetupError: a portrait cannot be downloaded, or the extractor cannot be loaded.
        RowsUnusable: the extractor finds no face at all.
    """
    with closing(make_extractor(ExtractorSettings(backend=backend))) as extractor:
        pictures = [portraits.open_picture(portraits.fetch(person, cache_dir)) for person in PEOPLE]
        clips: list[_Clip] = []
        for clip in (clip for shot in shots for clip in _film(shot, n_frames, pictures, extractor.extract)):
            clips.append(clip)
            on_clip(len(clips), len(shots) * _CLIPS_PER_SHOT)
    return _collect(clips)


def _film(shot: Shot, n_frames: int, pictures: Sequence[Image.Image], extract: Extract) -> Iterator[_Clip]:
    """Film everybody in one way, then with everybody else's face."""
    reals = []
    for person, picture, growth in zip(PEOPLE, pictures, shot.growths, strict=True):
        head = replace(person.head, growth=np.array(growth))
        frames = animate(picture, head, shot.motion, n_frames=n_frames, size=shot.size)
        reals.append(_Clip(REAL, person.name, frames, [_see(frame, shot.quality, extract) for frame in frames]))
    yield from reals
    for target, donor in permutations(reals, 2):
        for family in SwapFamily:
            yield _forge(target, donor, family, shot.quality, extract)


def _forge(target: _Clip, donor: _Clip, family: SwapFamily, quality: int, extract: Extract) -> _Clip:
    """Swap the donor's face into each of the target's frames, as it was in the same moment of the motion."""
    faces = [(target.face(frame), donor.face(frame)) for frame in range(len(target.pictures))]
    frames = [swap_face(face, other, family) for face, other in faces if face and other]
    return _Clip(family.value, target.person, frames, [_see(frame, quality, extract) for frame in frames])


def _see(frame: Image.Image, quality: int, extract: Extract) -> Features | None:
    try:
        extracted = extract(encode_jpeg(frame, quality=quality))
        return read_face(extracted.csv, min_confidence=ParserSettings().min_confidence).features
    except FrameError:
        return None


def _collect(clips: Sequence[_Clip]) -> CheckSet:
    rows = [(row, video) for video, clip in enumerate(clips) for row in clip.rows if row is not None]
    if not rows:
        n_frames = sum(len(clip.rows) for clip in clips)
        raise RowsUnusable(f"the extractor found no face in any of the {n_frames} frames; see `deepfake-serve doctor`")
    videos = np.array([video for _, video in rows])
    family = np.array([clip.family for clip in clips])[videos]
    return CheckSet(
        features=np.stack([row for row, _ in rows]),
        labels=(family != REAL).astype(np.float32),
        family=family,
        person=np.array([clip.person for clip in clips])[videos],
        video=videos,
    )
