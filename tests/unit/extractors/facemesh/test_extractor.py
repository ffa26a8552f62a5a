"""The extractor on real pictures."""

from io import BytesIO
from pathlib import Path
from threading import Event

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageOps

from serve_app.errors import ExtractionFailed, NoFace, Undecodable, WeightsMissing
from serve_app.extractors.facemesh.extractor import FaceMeshExtractor
from serve_app.features.schema import FEATURE_SLICES
from serve_app.features.table import FaceFeatures, read_face, write_face
from serve_app.frames import ExtractedFrame
from serve_app.settings import ExtractorSettings
from tests.unit.conftest import Encode

MIN_CONFIDENCE = 0.725


@pytest.fixture(scope="module")
def astronaut(portrait: bytes) -> Image.Image:
    return Image.open(BytesIO(portrait)).convert("RGB")


def face(extractor: FaceMeshExtractor, image: bytes) -> FaceFeatures:
    return read_face(extractor.extract(image).csv, min_confidence=MIN_CONFIDENCE)


def landmarks(found: FaceFeatures) -> npt.NDArray[np.float64]:
    points: npt.NDArray[np.float64] = found.features[FEATURE_SLICES["landmarks_2d"]].reshape(2, 68).T.astype(np.float64)
    return points


def nose(found: FaceFeatures) -> npt.NDArray[np.float64]:
    tip: npt.NDArray[np.float64] = landmarks(found)[30]
    return tip


def test_the_backend_is_named() -> None:
    """A model trained on another backend's features must not be served on these."""
    assert FaceMeshExtractor.backend == "facemesh"


def test_missing_networks_refuse_to_start(tmp_path: Path) -> None:
    """There is no substitute for the weights."""
    with pytest.raises(WeightsMissing, match="fetch-weights"):
        FaceMeshExtractor(ExtractorSettings(weights_dir=tmp_path))


def test_the_portrait_is_found(extractor: FaceMeshExtractor, portrait: bytes) -> None:
    """The nose is where one sees it, and both eyes look at about the camera."""
    found = face(extractor, portrait)
    gaze = found.features[FEATURE_SLICES["gaze"]].reshape(2, 3)
    assert np.allclose(nose(found), [224, 126], atol=4)
    assert np.allclose(np.linalg.norm(gaze, axis=1), 1, atol=1e-4)
    assert (gaze[:, 2] < -0.8).all()


def test_points_in_space_project_onto_points_in_the_image(extractor: FaceMeshExtractor, portrait: bytes) -> None:
    """Exact but for the CSV's decimals."""
    found = face(extractor, portrait)
    x, y, z = found.features[FEATURE_SLICES["landmarks_3d"]].reshape(3, 68)
    focal_px = 500 * (512 / 640 + 512 / 480) / 2
    projected = np.stack([x, y], axis=1) / z[:, None] * focal_px + 256
    assert np.abs(projected - landmarks(found)).max() < 0.3


@pytest.mark.parametrize("mode", ["L", "CMYK", "P"])
def test_colours_hardly_matter(extractor: FaceMeshExtractor, astronaut: Image.Image, encode: Encode, mode: str) -> None:
    """Gray, print colours and a palette show the same face."""
    image = encode(astronaut.convert(mode), "PNG" if mode == "P" else "JPEG")
    assert np.allclose(nose(face(extractor, image)), [224, 126], atol=4)


def test_sixteen_bits_show_the_same_face(extractor: FaceMeshExtractor, astronaut: Image.Image, encode: Encode) -> None:
    """A 16-bit gray PNG is the 8-bit one."""
    gray = np.asarray(astronaut.convert("L")).astype(np.uint16) * 257
    assert np.allclose(nose(face(extractor, encode(Image.fromarray(gray)))), [224, 126], atol=4)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_face_is_found_turned(
    extractor: FaceMeshExtractor, astronaut: Image.Image, encode: Encode, quarters: int
) -> None:
    """On its side or upside down, the roll says so."""
    found = face(extractor, encode(astronaut.rotate(90 * quarters)))
    roll = np.rad2deg(found.features[FEATURE_SLICES["pose_rotation"]][2])
    assert (roll + 90 * quarters) % 360 == pytest.approx(4, abs=8)


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_exif_orientation_is_applied(
    extractor: FaceMeshExtractor, astronaut: Image.Image, encode: Encode, orientation: int
) -> None:
    """A sideways file with its orientation is an upright face."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = astronaut.rotate({3: 180, 6: 90, 8: 270}[orientation])
    found = face(extractor, encode(turned, "JPEG", quality=95, exif=exif))
    assert np.allclose(nose(found), [224, 126], atol=4)


def test_a_mirrored_face_is_mirrored(extractor: FaceMeshExtractor, astronaut: Image.Image, encode: Encode) -> None:
    """Yaw changes its sign, within what the networks' own asymmetry allows."""
    one, other = (face(extractor, encode(image)) for image in (astronaut, ImageOps.mirror(astronaut)))
    rotation = FEATURE_SLICES["pose_rotation"]
    assert one.features[rotation][1] == pytest.approx(-other.features[rotation][1], abs=0.12)
    assert nose(one)[0] == pytest.approx(511 - nose(other)[0], abs=3)


@pytest.mark.parametrize("scale", [0.5, 4])
def test_size_does_not_change_the_pose(
    extractor: FaceMeshExtractor, astronaut: Image.Image, encode: Encode, scale: float
) -> None:
    """Coordinates are those of the full image, also where a fraction of it was decoded."""
    size = round(512 * scale)
    found = face(extractor, encode(astronaut.resize((size, size), Image.Resampling.LANCZOS), "JPEG", quality=95))
    assert np.allclose(nose(found) / scale, [224, 126], atol=4)
    assert found.features[FEATURE_SLICES["pose_translation"]][2] == pytest.approx(733, rel=0.04)


def test_the_largest_face_is_taken(extractor: FaceMeshExtractor, astronaut: Image.Image, encode: Encode) -> None:
    """Of two in one picture."""
    both = Image.new("RGB", (1024, 512), "gray")
    both.paste(astronaut.resize((400, 400)), (0, 0))
    both.paste(astronaut, (512, 0))
    assert np.allclose(nose(face(extractor, encode(both))), [736, 126], atol=5)


def test_a_face_beside_a_pixelated_one_is_found(
    extractor: FaceMeshExtractor, astronaut: Image.Image, encode: Encode
) -> None:
    """A detector is sure of the large mosaic, on which no mesh lies; the small face is left to the other detector."""
    head = astronaut.crop((114, 16, 334, 236))
    mosaic = head.resize((24, 24), Image.Resampling.BOX).resize((260, 260), Image.Resampling.NEAREST)
    scene = Image.new("RGB", (640, 480), "gray")
    scene.paste(mosaic, (20, 60))
    scene.paste(head.resize((100, 100), Image.Resampling.LANCZOS), (470, 80))
    assert np.allclose(nose(face(extractor, encode(scene))), [520, 130], atol=4)


def test_a_small_face_in_a_large_picture_is_found(
    extractor: FaceMeshExtractor, astronaut: Image.Image, encode: Encode
) -> None:
    """Some 60 px in 1920: only the tiles see it."""
    large = Image.new("RGB", (1920, 1080), "gray")
    large.paste(astronaut.resize((330, 330), Image.Resampling.LANCZOS), (1440, 648))
    found = face(extractor, encode(large, "JPEG", quality=95))
    assert np.allclose(nose(found), [1440 + 224 * 330 / 512, 648 + 126 * 330 / 512], atol=4)


@pytest.mark.parametrize("size", [(640, 480), (2000, 1200), (1, 1), (3000, 2)])
def test_noise_and_black_hold_no_face(extractor: FaceMeshExtractor, encode: Encode, size: tuple[int, int]) -> None:
    """The row is zero, as OpenFace writes it, whatever the picture's shape."""
    nothing = ExtractedFrame(write_face({"frame": 1}), 1)
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    assert extractor.extract(encode(Image.fromarray(noise), "BMP")) == nothing
    assert extractor.extract(encode(Image.new("RGB", size))) == nothing


def test_a_broken_file_is_undecodable(extractor: FaceMeshExtractor, portrait: bytes) -> None:
    """Half a portrait is no portrait."""
    with pytest.raises(Undecodable):
        extractor.extract(portrait[: len(portrait) // 2])


def test_a_chunk_holds_what_each_frame_gives_alone(
    extractor: FaceMeshExtractor, portrait: bytes, golden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In any company, and however few pictures fit in memory at a time; a failure stands in its slot."""
    faceless = (golden / "noface" / "frames" / "black.jpg").read_bytes()
    images = [portrait, b"no picture", faceless, portrait, faceless]
    together = extractor.extract_chunk(images)
    assert isinstance(together[1], Undecodable)
    assert [together[index] for index in (0, 2, 3, 4)] == [extractor.extract(images[index]) for index in (0, 2, 3, 4)]
    monkeypatch.setattr("serve_app.extractors.facemesh.extractor._GROUP_PIXELS", 1)
    assert [slot for slot in extractor.extract_chunk(images) if isinstance(slot, ExtractedFrame)] == [
        slot for slot in together if isinstance(slot, ExtractedFrame)
    ]


def test_what_nobody_waits_for_is_not_begun(extractor: FaceMeshExtractor, portrait: bytes) -> None:
    """The caller left."""
    stop = Event()
    stop.set()
    outcomes = extractor.extract_chunk([portrait, portrait], stop)
    assert [type(outcome) for outcome in outcomes] == [ExtractionFailed, ExtractionFailed]


def test_the_pixel_limit_is_the_settings(portrait: bytes) -> None:
    """512 x 512 are over a limit of 1000."""
    small = FaceMeshExtractor(ExtractorSettings(max_pixels=1000))
    with pytest.raises(Undecodable, match="512 x 512"):
        small.extract(portrait)


@pytest.mark.parametrize("name", ["black", "noface_mountain"])
def test_faceless_frames_get_openfaces_row(extractor: FaceMeshExtractor, golden: Path, name: str) -> None:
    """Number for number what OpenFace wrote for the same frame."""
    csv = extractor.extract((golden / "noface" / "frames" / f"{name}.jpg").read_bytes()).csv
    openface = (golden / "noface" / "csv" / f"{name}.csv").read_bytes()
    assert [float(cell) for cell in csv.splitlines()[1].split(b",")] == [
        float(cell) for cell in openface.splitlines()[1].split(b",")
    ]
    with pytest.raises(NoFace):
        read_face(csv, min_confidence=0)


def test_a_face_on_its_side_is_found_where_openface_finds_none(extractor: FaceMeshExtractor, golden: Path) -> None:
    """A quarter turn clockwise."""
    found = face(extractor, (golden / "noface" / "frames" / "rot90.jpg").read_bytes())
    assert found.features[FEATURE_SLICES["pose_rotation"]][2] == pytest.approx(np.pi / 2, abs=0.1)
