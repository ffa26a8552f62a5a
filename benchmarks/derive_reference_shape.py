"""Derive the reference face and its deformation modes, and write serve_app/features/reference_shape.npz.

    python benchmarks/derive_reference_shape.py [--write] FOLDER [FOLDER ...]

Each folder holds images of one person, looking into the camera; people count equally, however many
images they have. The shape is the average of what the mesh network says of them and of their mirror
images, made symmetric. Only two numbers do not come from the network: PITCH_DEG and EYE_DISTANCE_MM,
which were chosen so that pose_Rx and p_scale have no bias against OpenFace's output for the frames in
``golden/image_sequence``. Nothing is random; another CPU or runtime moves a point by about 0.01 mm.

The shipped file was made from two folders: the 30 golden frames, and scikit-image's astronaut.png.
"""

import argparse
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from serve_app.extractors.facemesh.crop import whole
from serve_app.extractors.facemesh.detection import SHORT_RANGE_LAYERS, FaceDetector
from serve_app.extractors.facemesh.landmarks import LANDMARK_TWINS, landmarks_of_mesh
from serve_app.extractors.facemesh.mesh import lay_mesh
from serve_app.extractors.facemesh.networks import Networks
from serve_app.features.geometry import SimilarityFit
from serve_app.features.schema import N_LANDMARKS, N_SHAPE_PARAMS
from serve_app.frames import ACCEPTED_EXTENSIONS
from serve_app.settings import ExtractorSettings

Array = npt.NDArray[np.float64]

OUTPUT = Path(__file__).parents[1] / "serve_app" / "features" / "reference_shape.npz"
EYE_DISTANCE_MM = 94.7
PITCH_DEG = 7.3
N_GRAPH_MODES = 12
NASION, CHIN, OUTER_EYE_CORNERS = 27, 8, (36, 45)

_TWINS = [{**LANDMARK_TWINS, **{b: a for a, b in LANDMARK_TWINS.items()}}.get(i, i) for i in range(N_LANDMARKS)]


def main() -> None:
    """Read the folders, derive the shape, and write it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="images of one person")
    parser.add_argument("--write", action="store_true", help=f"write {OUTPUT.name}; otherwise only report")
    arguments = parser.parse_args()
    networks = Networks.load(ExtractorSettings().weights_dir)
    people = [_person(networks, folder) for folder in arguments.folders]
    shape = reference_shape(people)
    _report(shape, people)
    if arguments.write:
        modes = shape_modes(shape)
        np.savez_compressed(OUTPUT, shape=shape, modes=modes.astype(np.float32))
        print(f"wrote {OUTPUT} ({OUTPUT.stat().st_size} bytes)")


def reference_shape(people: list[Array]) -> Array:
    """Average ``(68, 3)`` shapes of several people into one symmetric, upright one in mm, centroid 0."""
    shape = _upright(_symmetric(_mean([_upright(_symmetric(person)) for person in people])))
    shape -= shape.mean(axis=0)
    eyes = shape[list(OUTER_EYE_CORNERS)]
    return np.asarray(shape * EYE_DISTANCE_MM / np.linalg.norm(eyes[1] - eyes[0]))


def shape_modes(shape: Array) -> Array:
    """The ``(34, 68, 3)`` smoothest deformations of a shape that do not move, turn or scale it.

    Eigenvectors of the Laplacian of the landmarks' Delaunay graph, along each axis, made orthonormal.
    """
    _, vectors = np.linalg.eigh(_laplacian(_delaunay_edges(shape[:, :2])))
    smooth = [np.outer(vectors[:, k], axis) for k in range(1, N_GRAPH_MODES + 1) for axis in np.eye(3)]
    basis = _rigid_directions(shape)
    n_rigid = len(basis)
    for candidate in smooth:
        rest = candidate.ravel()
        for _ in range(2):  # twice is enough to be orthogonal to the last digit
            rest = rest - sum(((rest @ known) * known for known in basis), np.zeros_like(rest))
        if np.linalg.norm(rest) > 1e-6:
            basis.append(rest / np.linalg.norm(rest))
    modes = np.array(basis[n_rigid : n_rigid + N_SHAPE_PARAMS])
    largest = np.abs(modes).argmax(axis=1)
    signs = np.sign(modes[np.arange(N_SHAPE_PARAMS), largest])  # an eigenvector's sign is arbitrary
    return np.asarray((modes * signs[:, None]).reshape(N_SHAPE_PARAMS, N_LANDMARKS, 3))


def _person(networks: Networks, folder: Path) -> Array:
    """Mean shape of one person; prints how many images of the folder held a face."""
    detector = FaceDetector(networks.short_range, SHORT_RANGE_LAYERS)
    shapes = []
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in ACCEPTED_EXTENSIONS)
    for path in paths:
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
        for version in (picture, ImageOps.mirror(picture)):
            detections = detector.detect(version, whole(version))
            if detections:
                best = max(detections, key=lambda detection: detection.score)
                shapes.append(landmarks_of_mesh(lay_mesh(networks.mesh, version, best).points))
    if not shapes:
        sys.exit(f"no face in any of the {len(paths)} images of {folder}")
    print(f"{folder}: {len(shapes)} faces in {len(paths)} images and their mirror images")
    return _mean(shapes)


def _mean(shapes: list[Array]) -> Array:
    """Mean of ``(68, 3)`` shapes, each first brought over the others (generalised Procrustes)."""
    mean = shapes[0] - shapes[0].mean(axis=0)
    size = np.linalg.norm(mean)
    for _ in range(10):
        mean = np.mean([_aligned(shape, mean) for shape in shapes], axis=0)
        mean *= size / np.linalg.norm(mean)
    return np.asarray(mean)


def _aligned(shape: Array, target: Array) -> Array:
    fit = SimilarityFit(shape, np.ones(N_LANDMARKS))(target)
    return np.asarray(fit.scale * shape @ fit.rotation.T + fit.translation)


def _symmetric(shape: Array) -> Array:
    """Turn the plane of symmetry to X = 0 and average both halves."""
    mirrored = shape[_TWINS] * [-1, 1, 1]
    shape = (shape + _aligned(mirrored, shape)) / 2
    across = sum(shape[right] - shape[left] for left, right in LANDMARK_TWINS.items())
    across /= np.linalg.norm(across)
    down = shape[CHIN] - shape[NASION]
    away = np.cross(across, down)
    away /= np.linalg.norm(away)
    shape = shape @ np.array([across, np.cross(away, across), away]).T
    shape = shape - shape.mean(axis=0)
    return np.asarray((shape + shape[_TWINS] * [-1, 1, 1]) / 2)


def _upright(shape: Array) -> Array:
    """Turn about X until the line from nasion to chin leans by PITCH_DEG (chin away from the camera)."""
    _, down, away = shape[CHIN] - shape[NASION]
    angle = -np.arctan2(away, down) + np.deg2rad(PITCH_DEG)
    c, s = np.cos(angle), np.sin(angle)
    return np.asarray(shape @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]]).T)


def _delaunay_edges(points: Array) -> set[tuple[int, int]]:
    """Edges of every triangle whose circle through its corners holds no other of the ``(n, 2)`` points.

    Tries all triangles, which 68 points allow. Points on one circle, as mirrored pairs are, all get joined.
    """
    edges: set[tuple[int, int]] = set()
    for triangle in combinations(range(len(points)), 3):
        center, radius = _circle(points[list(triangle)])
        if (np.hypot(*(points - center).T) > radius * (1 - 1e-9)).all():
            edges.update(combinations(triangle, 2))
    return edges


def _circle(corners: Array) -> tuple[Array, float]:
    """Circle through three points; corners on one line have an infinite one, which is never empty."""
    system = 2 * (corners[1:] - corners[0])
    if abs(np.linalg.det(system)) < 1e-9:
        return corners[0], np.inf
    center = np.linalg.solve(system, (corners[1:] ** 2).sum(axis=1) - (corners[0] ** 2).sum())
    return center, float(np.hypot(*(corners[0] - center)))


def _laplacian(edges: set[tuple[int, int]]) -> Array:
    laplacian = np.zeros((N_LANDMARKS, N_LANDMARKS))
    for a, b in edges:
        laplacian[[a, b], [b, a]] = -1
        laplacian[[a, b], [a, b]] += 1
    return laplacian


def _rigid_directions(shape: Array) -> list[Array]:
    """Orthonormal ``(204,)`` directions that move, turn or scale the shape."""
    moves = [np.tile(axis, (N_LANDMARKS, 1)) for axis in np.eye(3)]
    turns = [np.cross(axis, shape) for axis in np.eye(3)]
    directions = np.array([direction.ravel() for direction in (*moves, *turns, shape)])
    return list(np.linalg.qr(directions.T)[0].T)


def _report(shape: Array, people: list[Array]) -> None:
    spread = [np.linalg.norm(_aligned(person, shape) - shape, axis=1).mean() for person in people]
    print(f"{len(people)} people, who differ from the mean by {', '.join(f'{mm:.1f}' for mm in spread)} mm")
    print(f"width, height, depth: {', '.join(f'{mm:.1f}' for mm in np.ptp(shape, axis=0))} mm")
    if OUTPUT.exists():
        with np.load(OUTPUT) as stored:
            change_mm = np.linalg.norm(shape - stored["shape"], axis=1).max()
        print(f"the largest distance to a point of the stored shape: {change_mm:.3f} mm")


if __name__ == "__main__":
    main()
