"""How far an extractor's outline follows an inner face that is displaced in the picture: the table in docs/detector.md.

    .venv/bin/python benchmarks/outline_follows.py [facemesh|openface]

The demo portrait's own inner face is moved within its frames and blended in, so that no identity changes. Printed
is the share of the inner face's motion, at each part, that the extractor reports.
"""

import sys
from contextlib import closing

import numpy as np
import numpy.typing as npt
from PIL import Image

from serve_app.demo import encode_jpeg
from serve_app.extractors.backends import make_extractor
from serve_app.extractors.worker import FrameExtractor
from serve_app.faceswap import LocatedFace, SwapFamily, swap_face
from serve_app.features.schema import FEATURE_SLICES
from serve_app.features.table import read_face
from serve_app.portraits import COLLINS, fetch, open_picture
from serve_app.settings import ExtractorSettings, cache_dir
from serve_app.talking_head import Motion, animate

Array = npt.NDArray[np.float64]

N_FRAMES = 10
PARTS = {"jaw": slice(17), "brows": slice(17, 27), "nose": slice(27, 36), "eyes": slice(36, 48), "mouth": slice(48, 68)}
MOVES = {  # shift in mm as x + i y, then a factor: a zoom, or a turn in rad
    "4 mm sideways": (4.0, 1.0),
    "4 mm down": (4.0j, 1.0),
    "4 mm up": (-4.0j, 1.0),
    "8 % larger": (0.0, 1.08),
    "8 % smaller": (0.0, 0.92),
    "turned by 0.08 rad": (0.0, np.exp(0.08j)),
}


def main() -> None:
    """Print a row for each move."""
    backend = sys.argv[1] if len(sys.argv) > 1 else "facemesh"
    with closing(make_extractor(ExtractorSettings.model_validate({"backend": backend}))) as extractor:
        portrait = open_picture(fetch(COLLINS, cache_dir()))
        frames = animate(portrait, COLLINS.head, Motion(), n_frames=N_FRAMES, size=(640, 480))
        faces = [locate(extractor, frame) for frame in frames]
        print(f"{backend:20}" + "".join(f"{part:>8}" for part in PARTS))
        for name, (shift_mm, factor) in MOVES.items():
            pairs = [move(extractor, *face, shift_mm, factor) for face in faces]
            expected, reported = (np.stack(moved) for moved in zip(*pairs, strict=True))
            print(f"{name:20}" + "".join(f"{share(expected, reported, part):8.2f}" for part in PARTS.values()))


def locate(extractor: FrameExtractor, frame: Image.Image) -> tuple[LocatedFace, float]:
    """A frame with its landmarks, and the px per mm on its face."""
    features = read_face(extractor.extract(encode_jpeg(frame)).csv, min_confidence=0.0).features.astype(np.float64)
    landmarks = features[FEATURE_SLICES["landmarks_2d"]].reshape(2, 68).T + 0.5
    return LocatedFace(frame, landmarks), float(features[FEATURE_SLICES["shape_camera"]][0])


def move(
    extractor: FrameExtractor, face: LocatedFace, px_per_mm: float, shift_mm: complex, factor: complex
) -> tuple[Array, Array]:
    """Displacements ``(68, 2)`` px of every landmark if it went with the inner face, and as reported."""
    points = face.landmarks @ np.array([1.0, 1.0j])
    middle = points[17:].mean()
    moved = middle + (points - middle) * factor + shift_mm * px_per_mm
    goal = np.stack([moved.real, moved.imag], axis=-1)
    frame = swap_face(LocatedFace(face.picture, goal), face, SwapFamily.FACE)
    found, _ = locate(extractor, frame)
    return goal - face.landmarks, found.landmarks - face.landmarks


def share(expected: Array, reported: Array, part: slice) -> float:
    """Of a part's expected motion, how much was reported: 1 if it went along, 0 if it stayed."""
    return float((expected[:, part] * reported[:, part]).sum() / (expected[:, part] ** 2).sum())


if __name__ == "__main__":
    main()
