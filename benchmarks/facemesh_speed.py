"""How long the face-mesh extractor takes for one frame, and how much of that the networks need.

    python benchmarks/facemesh_speed.py [FRAMES] [--json]

FRAMES is a folder of images; without it the demo portrait's talking head is used. The frames are encoded as
JPEG at 640x480 and, upscaled, at 1920x1080, and extracted each alone and in chunks of 15, as for two replicas. The
yardstick is a plain loop of the four invoke() calls of one frame (detector, mesh, twice the iris) in the same
process; all are timed in turn, so that a busy machine slows all of them. One thread does everything. The memory is
what the extractor adds to numpy and Pillow; it is imported late for that.
"""

import argparse
import json
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

if TYPE_CHECKING:
    from serve_app.extractors.facemesh.extractor import FaceMeshExtractor

N_ROUNDS = 5
MAX_FRAMES = 30
CHUNK = 15  # frames a call, as a request of 30 is cut for two replicas


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames", nargs="?", type=Path, help="folder of images")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    before_mb = _peak_mb()
    extractor = _load_extractor()
    resident_mb = _peak_mb() - before_mb  # before the frames, whose own peak would hide it
    frames = _frames_of(arguments.frames) if arguments.frames else _demo_frames()
    small, large = ([_jpeg(frame, size) for frame in frames] for size in ((640, 480), (1920, 1080)))
    numbers = {**measure(extractor, small, large), "resident_mb": resident_mb}
    if arguments.json:
        print(json.dumps(numbers, indent=2))
        return
    for name, value in numbers.items():
        print(f"{name:<30}{value:>9.2f}")


def measure(extractor: "FaceMeshExtractor", small: list[bytes], large: list[bytes]) -> dict[str, float]:
    """Median milliseconds a frame takes in chunks and alone, those of the plain loop, and the ratios to it."""
    from serve_app.settings import ExtractorSettings  # noqa: PLC0415

    invoke = _plain_loop(ExtractorSettings().weights_dir)
    times: defaultdict[str, list[float]] = defaultdict(list)
    for _ in range(N_ROUNDS):
        for start in range(0, len(small), CHUNK):
            for size, frames in (("640x480", small), ("1920x1080", large)):
                chunk = frames[start : start + CHUNK]
                times[f"chunk_{size}_ms"].append(_milliseconds(partial(extractor.extract_chunk, chunk)) / len(chunk))
                times[f"alone_{size}_ms"] += [_milliseconds(partial(extractor.extract, frame)) for frame in chunk]
            times["plain_loop_ms"] += [_milliseconds(invoke) for _ in range(CHUNK)]
    medians = {name: float(np.median(values)) for name, values in times.items()}
    return {
        **medians,
        "chunk_over_plain_640x480": medians["chunk_640x480_ms"] / medians["plain_loop_ms"],
        "alone_over_plain_640x480": medians["alone_640x480_ms"] / medians["plain_loop_ms"],
        "frames_per_s_640x480": 1000 / medians["chunk_640x480_ms"],
        "frames_per_s_1920x1080": 1000 / medians["chunk_1920x1080_ms"],
    }


def _load_extractor() -> "FaceMeshExtractor":
    """Import and load everything, and run it once."""
    from serve_app.extractors.facemesh.extractor import FaceMeshExtractor  # noqa: PLC0415
    from serve_app.settings import ExtractorSettings  # noqa: PLC0415

    extractor = FaceMeshExtractor(ExtractorSettings())
    extractor.extract(_jpeg(Image.new("RGB", (640, 480)), (640, 480)))
    return extractor


def _plain_loop(weights_dir: Path) -> Callable[[], None]:
    """The networks of one frame without anything around them."""
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415

    names = ("face_detection_short_range", "face_landmark", "iris_landmark")
    interpreters = [Interpreter(model_path=str(weights_dir / f"{name}.tflite"), num_threads=1) for name in names]
    for interpreter in interpreters:
        interpreter.allocate_tensors()
    detector, mesh, iris = interpreters

    def invoke() -> None:
        for network in (detector, mesh, iris, iris):
            network.invoke()

    return invoke


def _milliseconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - started)


def _peak_mb() -> float:
    """Peak resident memory of this process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _frames_of(folder: Path) -> list[Image.Image]:
    from serve_app.frames import ACCEPTED_EXTENSIONS  # noqa: PLC0415

    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in ACCEPTED_EXTENSIONS)[:MAX_FRAMES]
    if not paths:
        sys.exit(f"no image in {folder}")
    return [Image.open(path).convert("RGB") for path in paths]


def _demo_frames() -> list[Image.Image]:
    from serve_app.demo import fetch_portrait, talking_head_frames  # noqa: PLC0415
    from serve_app.settings import cache_dir  # noqa: PLC0415

    return [Image.open(BytesIO(frame)) for frame in talking_head_frames(fetch_portrait(cache_dir()))]


def _jpeg(frame: Image.Image, size: tuple[int, int]) -> bytes:
    """A frame scaled into ``size``, black around it where its shape differs."""
    encoded = BytesIO()
    ImageOps.pad(frame, size).save(encoded, "JPEG", quality=90)
    return encoded.getvalue()


if __name__ == "__main__":
    main()
