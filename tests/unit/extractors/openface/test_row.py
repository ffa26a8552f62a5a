"""What OpenFace wrote for one frame."""

import pytest

from serve_app.errors import ExtractionFailed
from serve_app.extractors.openface.row import checked_csv, generation_of
from serve_app.features.table import CSV_HEADER, write_face

FACE = write_face({"frame": 1, "confidence": 0.98, "success": 1, "x_0": 12.5})
DIRTY = write_face({"frame": 1, "pose_Tx": 54321012.3, "eye_lmk_x_0": 99})


def test_a_face_comes_through_byte_for_byte() -> None:
    """Nothing is parsed, so nothing is rounded."""
    assert checked_csv(FACE) is FACE


def test_a_row_without_a_face_is_cleaned() -> None:
    """A warm process leaves the eyes of the frame before in it."""
    assert checked_csv(DIRTY) == write_face({"frame": 1})


def test_the_newer_generation_writes_no_spaces() -> None:
    """Its rows hold the same columns."""
    csv = FACE.replace(b", ", b",")
    assert checked_csv(csv) is csv
    assert (generation_of(csv), generation_of(FACE)) == ("2.2", "2.0")


def test_action_units_may_follow() -> None:
    """With -aus the row is longer; the features are where they were."""
    header, row, _ = FACE.split(b"\n")
    csv = header + b", AU01_r\n" + row + b", 1.00\n"
    assert checked_csv(csv) is csv


def test_of_several_pictures_the_first_is_the_frame() -> None:
    """A phone's JPEG holds a gain map behind the photo; its row says nothing of the photo."""
    second, third = (write_face({"frame": number, "success": 1}).split(b"\n")[1] + b"\n" for number in (2, 3))
    assert checked_csv(FACE + second) == FACE
    assert checked_csv(FACE + second + third) == FACE
    assert checked_csv(DIRTY + second) == write_face({"frame": 1})


@pytest.mark.parametrize(
    ("csv", "reason"),
    [
        (b"", "cut off; is TEMP_DIR full"),
        (FACE[:4000], "cut off"),
        (FACE[:-1], "cut off"),
        (CSV_HEADER + b"\n", "wrote 0 rows"),
        (FACE + FACE.split(b"\n")[1] + b"\n", "wrote 2 rows"),  # two faces
        (FACE + b"garbage\n", "wrote 2 rows"),
        (FACE.replace(b", 12.5,", b","), "678 values under 679 columns"),
        (b"frame, success\n1, 1\n", "2 columns, and not the 679 .* doctor"),
    ],
)
def test_what_is_not_one_whole_row_is_refused(csv: bytes, reason: str) -> None:
    """With a reason."""
    with pytest.raises(ExtractionFailed, match=reason):
        checked_csv(csv)
