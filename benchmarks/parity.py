"""How near the face-mesh extractor comes to OpenFace, on frames whose OpenFace CSV is at hand.

    python benchmarks/parity.py FRAMES_DIR CSV_DIR [--json]

A frame and a CSV belong together if their names differ only in the extension. Frames that either side
finds no face in are left out, counted, and named on stderr. For each frame, with OpenFace as reference:

    nme68_pct            mean distance of the 68 landmarks, % of the outer eye distance (36 to 45)
    rotation_deg         geodesic angle between the head rotations (pose_R)
    translation_pct      distance of the head positions (pose_T), % of the head's distance
    p_scale_pct          difference of the weak-perspective scale, %
    gaze_deg             angle between the gaze vectors, mean of both eyes
    gaze_angle_deg       mean of the absolute differences of gaze_angle_x and gaze_angle_y
    points3d_mm          mean distance of the 68 points in 3D
    points3d_centred_mm  the same after both centroids are moved to 0
    eye_lmk_pct          mean distance of the 56 eye landmarks, % of the outer eye distance
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from serve_app.errors import FrameError
from serve_app.extractors.facemesh.extractor import FaceMeshExtractor
from serve_app.features.geometry import angle_between_rotations, rotation_from_euler
from serve_app.features.schema import FEATURE_SLICES
from serve_app.features.table import read_face
from serve_app.frames import ACCEPTED_EXTENSIONS
from serve_app.settings import ExtractorSettings

Array = npt.NDArray[np.float64]


def main() -> None:
    """Compare, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames_dir", type=Path)
    parser.add_argument("csv_dir", type=Path)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    errors = compare_folders(arguments.frames_dir, arguments.csv_dir)
    summary = summarise(errors)
    if arguments.json:
        print(json.dumps({**summary, "n_frames": len(errors)}, indent=2))
        return
    print(f"{len(errors)} frames{'':>16}{'median':>9}{'p95':>9}")
    for name, values in summary.items():
        print(f"{name:<24}{values['median']:>9.2f}{values['p95']:>9.2f}")


def compare_folders(frames_dir: Path, csv_dir: Path) -> list[dict[str, float]]:
    """Errors of every frame in which both sides find a face; exits if there is nothing to compare."""
    extractor = FaceMeshExtractor(ExtractorSettings())
    errors, left_out = [], []
    for frame, csv in _pairs(frames_dir, csv_dir):
        try:
            reference = _features("OpenFace", csv.read_bytes())
            ours = _features("face mesh", extractor.extract(frame.read_bytes()).csv)
        except FrameError as exc:
            left_out.append(f"{frame.name}: {exc}")
            continue
        errors.append(frame_errors(reference, ours))
    if left_out:
        print(f"{len(left_out)} frames left out:", *left_out, sep="\n  ", file=sys.stderr)
    if not errors:
        sys.exit("no frame is left to compare")
    return errors


def frame_errors(reference: Array, ours: Array) -> dict[str, float]:
    """The nine errors of one frame, from two ``(674,)`` feature rows; the module's docstring defines them."""
    landmarks, eyes = _points(reference, ours, "landmarks_2d", 2), _points(reference, ours, "eye_landmarks_2d", 2)
    points = _points(reference, ours, "landmarks_3d", 3)
    rotations = [rotation_from_euler(row[FEATURE_SLICES["pose_rotation"]]) for row in (reference, ours)]
    translations = _points(reference, ours, "pose_translation", 3)
    scales = [row[FEATURE_SLICES["shape_camera"]][0] for row in (reference, ours)]
    gazes = [row[FEATURE_SLICES["gaze"]].reshape(2, 3) for row in (reference, ours)]
    angles = [row[FEATURE_SLICES["gaze_angle"]] for row in (reference, ours)]
    eye_distance_px = np.linalg.norm(landmarks[0][36] - landmarks[0][45])
    centred = [side - side.mean(axis=0) for side in points]
    return {
        "nme68_pct": 100 * _mean_distance(landmarks) / eye_distance_px,
        "rotation_deg": float(np.rad2deg(angle_between_rotations(*rotations))),
        "translation_pct": 100 * _mean_distance(translations) / np.linalg.norm(translations[0]),
        "p_scale_pct": 100 * abs(scales[1] - scales[0]) / scales[0],
        "gaze_deg": float(np.rad2deg(np.arccos(np.clip((gazes[0] * gazes[1]).sum(axis=1), -1, 1))).mean()),
        "gaze_angle_deg": float(np.rad2deg(np.abs(angles[1] - angles[0])).mean()),
        "points3d_mm": _mean_distance(points),
        "points3d_centred_mm": _mean_distance(centred),
        "eye_lmk_pct": 100 * _mean_distance(eyes) / eye_distance_px,
    }


def summarise(errors: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Median and 95th percentile of each error over the frames."""
    columns = {name: [frame[name] for frame in errors] for name in errors[0]}
    return {
        name: {"median": float(np.median(values)), "p95": float(np.percentile(values, 95))}
        for name, values in columns.items()
    }


def _pairs(frames_dir: Path, csv_dir: Path) -> Iterator[tuple[Path, Path]]:
    for folder in (frames_dir, csv_dir):
        if not folder.is_dir():
            sys.exit(f"{folder} is not a folder")
    csvs = {path.stem: path for path in csv_dir.iterdir() if path.suffix.lower() == ".csv"}
    frames = sorted(path for path in frames_dir.iterdir() if path.suffix.lower() in ACCEPTED_EXTENSIONS)
    pairs = [(frame, csvs[frame.stem]) for frame in frames if frame.stem in csvs]
    if not pairs:
        sys.exit(f"none of the {len(frames)} images in {frames_dir} has its CSV among the {len(csvs)} in {csv_dir}")
    yield from pairs


def _features(side: str, csv: bytes) -> Array:
    """The ``(674,)`` features of a CSV; an error says which side it comes from."""
    try:
        return read_face(csv, min_confidence=0.0).features.astype(np.float64)
    except FrameError as exc:
        raise type(exc)(f"{side}: {exc}") from exc


def _points(reference: Array, ours: Array, group: str, dimensions: int) -> list[Array]:
    """A group of both rows as ``(n, dimensions)``; the columns hold one axis after the other."""
    return [row[FEATURE_SLICES[group]].reshape(dimensions, -1).T for row in (reference, ours)]


def _mean_distance(points: list[Array]) -> float:
    return float(np.linalg.norm(points[1] - points[0], axis=1).mean())


if __name__ == "__main__":
    main()
