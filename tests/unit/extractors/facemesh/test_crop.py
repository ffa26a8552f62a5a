"""Square crops and the way back to the picture."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from serve_app.extractors.facemesh.crop import Crop, warp, whole

SPOT = (130.0, 90.0)


@pytest.fixture(scope="module")
def spotted() -> Image.Image:
    """A white spot on black, 300 x 200."""
    picture = Image.new("RGB", (300, 200))
    ImageDraw.Draw(picture).ellipse((SPOT[0] - 8, SPOT[1] - 8, SPOT[0] + 8, SPOT[1] + 8), fill="white")
    return picture


@pytest.mark.parametrize(
    "crop",
    [
        Crop((150.0, 100.0), 300.0),
        Crop((140.0, 80.0), 80.0, angle=0.4),
        Crop((100.0, 100.0), 150.0, angle=-2.0, mirrored=True),
        Crop((130.0, 90.0), 40.0),
        Crop((280.0, 190.0), 500.0, angle=1.0),
    ],
    ids=["whole", "turned", "mirrored", "magnified", "reaching outside"],
)
def test_what_is_seen_in_a_crop_is_found_in_the_picture(spotted: Image.Image, crop: Crop) -> None:
    """The spot's middle, measured in the warped crop, comes back to where it was drawn."""
    seen = warp(spotted, crop, 64)[..., 0].astype(np.float64)
    y, x = np.mgrid[0:64, 0:64] + 0.5
    middle = np.array([[(x * seen).sum(), (y * seen).sum()]]) / seen.sum() / 64
    assert np.allclose(crop.to_picture(middle), np.array(SPOT) + 0.5, atol=crop.side_px / 64)


def test_depth_scales_with_the_crop() -> None:
    """A third coordinate is in the same unit as the first two."""
    placed = Crop((10.0, 10.0), 20.0, angle=0.5).to_picture(np.array([[0.5, 0.5, 0.25]]))
    assert np.allclose(placed, [[10, 10, 5]])


def test_the_whole_picture_is_letterboxed() -> None:
    """A square around a wide picture is black above and below it."""
    seen = warp(Image.new("RGB", (640, 320), "white"), whole(Image.new("RGB", (640, 320))), 64)
    assert seen[:15].max() == 0
    assert seen[17:47].min() == 255


def test_fine_patterns_do_not_alias() -> None:
    """Stripes of one pixel become gray in a much smaller crop."""
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    picture = Image.fromarray(stripes)
    seen = warp(picture, whole(picture), 64)
    assert 120 <= seen.min() <= seen.max() <= 135


def test_a_picture_of_the_right_size_is_taken_as_it_is() -> None:
    """Each block of 5 x 5 px becomes one; above and below it is black."""
    pixels = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels.repeat(5, axis=0).repeat(5, axis=1))
    seen = warp(picture, whole(picture), 128)
    assert (seen[16:112] == pixels).all()
    assert not seen[:16].any()
    assert not seen[112:].any()
