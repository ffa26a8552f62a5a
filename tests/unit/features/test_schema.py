"""The columns of an OpenFace CSV."""

from pathlib import Path

import pytest

from serve_app.features import schema
from serve_app.features.table import CSV_HEADER, read_face, write_face

GOLDEN = Path(__file__).parents[4] / "shared" / "golden"


def test_there_are_674_features_under_679_columns() -> None:
    """Gaze 8, eyes 112 + 168, pose 6, landmarks 136 + 204, camera 6, shape 34."""
    counts = [len(group.names) for group in schema.FEATURE_GROUPS.values()]
    assert counts == [6, 2, 112, 168, 3, 3, 136, 204, 6, 34]
    assert (schema.FEATURE_COUNT, len(schema.COLUMNS)) == (674, 679)


def test_names_are_unique_though_they_differ_in_case_only() -> None:
    """x_0 is in pixels, X_0 in millimetres."""
    assert len(set(schema.COLUMNS)) == len(schema.COLUMNS)


def test_slices_cover_the_features_in_order() -> None:
    """Each group lies where its slice says."""
    for key, group in schema.FEATURE_GROUPS.items():
        assert schema.FEATURE_COLUMNS[schema.FEATURE_SLICES[key]] == group.names


@pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"no golden data in {GOLDEN}")
@pytest.mark.parametrize("csv_path", sorted(GOLDEN.glob("image_sequence/csv/*.csv")), ids=lambda path: path.stem)
def test_openface_csvs_are_written_back_byte_for_byte(csv_path: Path) -> None:
    """Header, order, separator and decimals are OpenFace's own."""
    csv = csv_path.read_bytes()
    header, row, _ = csv.split(b"\n")
    assert header == CSV_HEADER
    assert write_face(dict(zip(schema.COLUMNS, map(float, row.split(b",")), strict=True))) == csv
    assert read_face(csv, min_confidence=0.725).confidence == pytest.approx(0.98)
