"""CSV bytes to features by column name."""

import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.errors import LowQuality, NoFace, TableError
from serve_app.features.schema import COLUMNS, FEATURE_COLUMNS, FEATURE_COUNT
from serve_app.features.table import read_face, read_faces, read_rows, write_face

Values = dict[str, str]
AU_COLUMNS = [f"AU{unit:02d}_r" for unit in range(17)] + [f"AU{unit:02d}_c" for unit in range(18)]


@pytest.fixture
def values() -> Values:
    """A plausible row, as text: a sure face, and a feature's value is its position."""
    row = {name: str(index) for index, name in enumerate(FEATURE_COLUMNS)}
    return {"frame": "1", "face_id": "0", "timestamp": "0.0", "confidence": "0.98", "success": "1"} | row


def as_csv(values: Values, separator: str = ", ") -> bytes:
    return f"{separator.join(values)}\n{separator.join(values.values())}\n".encode()


def test_features_come_in_schema_order(values: Values) -> None:
    """The feature vector is (674,) float32 in the schema's order."""
    face = read_face(as_csv(values), min_confidence=0.5)
    assert face.features.dtype == np.float32
    assert face.features.tolist() == list(range(FEATURE_COUNT))
    assert face.confidence == pytest.approx(0.98)


@pytest.mark.parametrize("separator", [", ", ","])
def test_both_generations_of_openface_are_read(values: Values, separator: str) -> None:
    """2.0 writes a space after each comma, 2.2 does not."""
    face = read_face(as_csv(values, separator), min_confidence=0.5)
    assert face.features.tolist() == list(range(FEATURE_COUNT))


def test_columns_may_come_in_any_order_with_action_units(values: Values) -> None:
    """714 shuffled columns give the same features: names decide, not positions."""
    columns = list((values | dict.fromkeys(AU_COLUMNS, "0.5")).items())
    random.Random(1).shuffle(columns)
    assert read_face(as_csv(dict(columns)), min_confidence=0.5).features.tolist() == list(range(FEATURE_COUNT))


@pytest.mark.parametrize("cell", ["nan", "inf", "-inf", "", "abc", "1e39", "0x10", "1_0", '"1"', "True", "1 2"])
@pytest.mark.parametrize("column", ["gaze_0_x", "p_33", "confidence"])
def test_a_cell_that_is_no_finite_number_names_its_column(values: Values, column: str, cell: str) -> None:
    """Nothing that float32 cannot hold becomes a feature."""
    with pytest.raises(TableError, match=column) as caught:
        read_face(as_csv(values | {column: cell}), min_confidence=0.5)
    assert caught.value.column == column


def test_a_missing_column_is_named(values: Values) -> None:
    """The first absent column is said."""
    del values["x_12"]
    with pytest.raises(TableError, match="x_12") as caught:
        read_face(as_csv(values), min_confidence=0.5)
    assert caught.value.column == "x_12"


def test_a_column_that_appears_twice_is_named() -> None:
    """Two columns of one name cannot both be the feature."""
    names = ", ".join([*COLUMNS, "x_1"])
    cells = ", ".join(["1"] * (len(COLUMNS) + 1))
    with pytest.raises(TableError, match="x_1 appears twice"):
        read_face(f"{names}\n{cells}\n".encode(), min_confidence=0.5)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda _: b"", "empty"),
        (lambda csv: csv.split(b"\n")[0] + b"\n", "holds 0"),
        (lambda csv: csv + csv.split(b"\n")[1] + b"\n", "holds 2"),
        (lambda csv: csv[:-1], "truncated"),
        (lambda csv: csv[: len(csv) * 3 // 4], "truncated"),
        (lambda csv: csv[: len(csv) * 3 // 4] + b"\n", "values under"),
    ],
)
def test_a_csv_of_another_shape_is_refused(values: Values, spoil: Callable[[bytes], bytes], reason: str) -> None:
    """Empty, headless, several rows, cut anywhere: each is said."""
    with pytest.raises(TableError, match=reason):
        read_face(spoil(as_csv(values)), min_confidence=0.5)


def test_no_face_and_low_quality_have_their_own_errors(values: Values) -> None:
    """Success 0 is no face; a confidence below the limit is low quality."""
    no_face, unsure = as_csv(values | {"success": "0"}), as_csv(values | {"confidence": "0.4"})
    faces = read_faces([no_face, unsure, as_csv(values)], min_confidence=0.5)
    assert [type(face).__name__ for face in faces] == ["NoFace", "LowQuality", "FaceFeatures"]
    assert isinstance(faces[0], NoFace)
    assert isinstance(faces[1], LowQuality)


def test_a_garbled_csv_spoils_no_other(values: Values) -> None:
    """They are parsed together, and told apart."""
    faces = read_faces([as_csv(values), as_csv(values | {"x_3": "nan"}), b"", as_csv(values)], min_confidence=0.5)
    assert [type(face).__name__ for face in faces] == ["FaceFeatures", "TableError", "TableError", "FaceFeatures"]
    assert isinstance(faces[1], TableError)
    assert faces[1].column == "x_3"
    assert read_faces([], min_confidence=0.5) == []


def as_video_csv(rows: list[Values]) -> bytes:
    lines = [", ".join(rows[0]), *(", ".join(row.values()) for row in rows)]
    return ("\n".join(lines) + "\n").encode()


def test_a_video_gives_the_rows_that_show_a_face_surely(values: Values) -> None:
    """In order; what stands in a row without a face does not matter."""
    blind = values | {"success": "0", "x_3": "-nan"}
    rows = [values | {"p_33": "1"}, blind, values | {"confidence": "0.2"}, values | {"p_33": "2"}]
    features = read_rows(as_video_csv(rows), min_confidence=0.5, limit=10)
    assert features.dtype == np.float32
    assert features[:, -1].tolist() == [1, 2]
    assert read_rows(as_video_csv([blind]), min_confidence=0.5, limit=10).shape == (0, FEATURE_COUNT)


def test_of_a_long_video_evenly_spread_rows_are_read(values: Values) -> None:
    """From its first to its last."""
    csv = as_video_csv([values | {"p_33": str(frame)} for frame in range(101)])
    assert read_rows(csv, min_confidence=0.5, limit=5)[:, -1].tolist() == [0, 25, 50, 75, 100]


@pytest.mark.parametrize(("column", "cell"), [("x_3", "nan"), ("success", "2"), ("confidence", "?")])
def test_a_garbled_row_of_a_video_names_its_line(values: Values, column: str, cell: str) -> None:
    """And its column; the header is line 1."""
    with pytest.raises(TableError, match=f"line 3: column {column}") as caught:
        read_rows(as_video_csv([values, values | {column: cell}, values]), min_confidence=0.5, limit=10)
    assert caught.value.column == column


def test_a_row_cut_short_names_its_line(values: Values) -> None:
    """A full disk leaves such files behind."""
    with pytest.raises(TableError, match="line 3: the CSV is truncated"):
        read_rows(as_video_csv([values, {"frame": "2"}]), min_confidence=0.5, limit=10)


def test_success_is_zero_or_one(values: Values) -> None:
    """Any other value is a garbled row."""
    with pytest.raises(TableError, match="success"):
        read_face(as_csv(values | {"success": "7"}), min_confidence=0.5)


def test_writing_an_unknown_column_is_refused() -> None:
    """A typing error in an extractor cannot pass as a zero."""
    with pytest.raises(TableError, match="gaze_2_x"):
        write_face({"gaze_2_x": 1.0})


@given(st.integers(0, 2**32), st.floats(1e-6, 9999))
def test_what_is_written_reads_back_to_its_decimals(seed: int, scale: float) -> None:
    """Writing rounds to OpenFace's decimals, and to nothing coarser than 0.1."""
    row = np.random.default_rng(seed).uniform(-scale, scale, FEATURE_COUNT)
    csv = write_face(dict(zip(FEATURE_COLUMNS, row, strict=True)) | {"confidence": 1.0, "success": 1.0})
    np.testing.assert_allclose(read_face(csv, min_confidence=0.0).features, row, atol=0.051)


@given(st.binary(max_size=400))
def test_garbage_is_a_typed_error(garbage: bytes) -> None:
    """No bytes whatever raise anything but TableError."""
    with pytest.raises(TableError):
        read_face(garbage, min_confidence=0.5)
