"""Face swaps: the blend's equation, and whose geometry a swapped frame has."""

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from serve_app.demo import encode_jpeg
from serve_app.extractors.facemesh.extractor import FaceMeshExtractor
from serve_app.faceswap import LocatedFace, SwapFamily, blend_seamlessly, swap_face
from serve_app.features.schema import FEATURE_SLICES
from serve_app.features.table import read_face
from serve_app.portraits import PEOPLE, fetch, open_picture
from serve_app.settings import cache_dir
from serve_app.talking_head import Motion, animate

Array = npt.NDArray[np.float64]


@pytest.fixture
def inside() -> npt.NDArray[np.bool_]:
    y, x = np.mgrid[:40, :50]
    return np.asarray((x - 25) ** 2 + (y - 20) ** 2 < 12**2)


def noise(seed: int) -> Array:
    return np.random.default_rng(seed).uniform(0, 255, (40, 50, 3))


def laplacian(picture: Array) -> Array:
    inner = picture[1:-1, 1:-1]
    around = picture[:-2, 1:-1] + picture[2:, 1:-1] + picture[1:-1, :-2] + picture[1:-1, 2:]
    return np.asarray(around - 4 * inner)


def test_a_blend_has_the_patchs_edges_inside_and_the_pictures_outside(inside: npt.NDArray[np.bool_]) -> None:
    """That is Poisson's equation, away from the seam; the rim is the picture's own."""
    patch, picture = noise(1), noise(2)
    blended = blend_seamlessly(patch, picture, inside)
    deep, far = (np.zeros_like(inside) for _ in range(2))
    deep[15:26, 20:31], far[1:5, 1:-1] = True, True
    np.testing.assert_allclose(laplacian(blended)[deep[1:-1, 1:-1]], laplacian(patch)[deep[1:-1, 1:-1]], atol=1e-8)
    np.testing.assert_allclose(laplacian(blended)[far[1:-1, 1:-1]], laplacian(picture)[far[1:-1, 1:-1]], atol=1e-8)
    np.testing.assert_array_equal(blended[0], picture[0])
    np.testing.assert_array_equal(blended[:, -1], picture[:, -1])


def test_a_patchs_brightness_leaves_no_trace(inside: npt.NDArray[np.bool_]) -> None:
    """Only gradients are blended."""
    patch, picture = noise(1), noise(2)
    np.testing.assert_allclose(
        blend_seamlessly(patch + 80.0, picture, inside), blend_seamlessly(patch, picture, inside), atol=1e-8
    )


def locate(picture: Image.Image, extractor: FaceMeshExtractor) -> LocatedFace:
    row = read_face(extractor.extract(encode_jpeg(picture)).csv, min_confidence=0.7).features
    return LocatedFace(picture, row[FEATURE_SLICES["landmarks_2d"]].reshape(2, 68).T.astype(np.float64) + 0.5)


@pytest.fixture(scope="module")
def faces(extractor: FaceMeshExtractor) -> list[LocatedFace]:
    """A frame of each of the two people."""
    pictures = [open_picture(fetch(person, cache_dir())) for person in PEOPLE]
    return [
        locate(animate(picture, person.head, Motion(), n_frames=1, size=(320, 240))[0], extractor)
        for person, picture in zip(PEOPLE, pictures, strict=True)
    ]


def shape_of(face: LocatedFace, part: slice) -> Array:
    """A part's landmarks, but for place and size."""
    points = face.landmarks[part] - face.landmarks[part].mean(axis=0)
    return np.asarray(points / np.linalg.norm(points))


@pytest.mark.parametrize("family", SwapFamily)
def test_ones_own_face_changes_nothing_but_by_resampling(family: SwapFamily, faces: list[LocatedFace]) -> None:
    """Alignment, colours and blend are the identity where donor and target are one."""
    same = np.asarray(swap_face(faces[0], faces[0], family), dtype=np.float64)
    assert np.abs(same - np.asarray(faces[0].picture)).mean() < 0.5


@pytest.mark.parametrize(("family", "is_donors"), [("FACE", True), ("MOUTH", True), ("RESHAPED", False)])
def test_the_mouth_found_in_a_swap(
    family: str, is_donors: bool, faces: list[LocatedFace], extractor: FaceMeshExtractor
) -> None:
    """Has the donor's shape, but where the donor was bent to fit."""
    target, donor = faces
    found = shape_of(locate(swap_face(target, donor, SwapFamily[family]), extractor), slice(48, 68))
    misses = [np.linalg.norm(found - shape_of(face, slice(48, 68))) for face in (target, donor)]
    assert (misses[1] < misses[0]) == is_donors
