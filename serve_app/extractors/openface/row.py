"""What OpenFace wrote for one frame: whether it is whole, without parsing a number of it."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from serve_app.errors import ExtractionFailed
from serve_app.features.schema import COLUMNS
from serve_app.features.table import write_face

Generation = Literal["2.0", "2.2"]
"""2.0 (and its development versions) writes a space after each comma, 2.2 does not."""

_SUCCESS = COLUMNS.index("success")
_NO_FACE = write_face({"frame": 1})


def checked_csv(csv: bytes) -> bytes:
    """Return the CSV as it is, if it is one whole row under the full header, and the zero row if that has no face.

    A warm process fills a row without a face with remains of the frame before, and nonsense for the pose. OpenFace
    takes a file of several pictures, a phone's JPEG with its gain map say, for a video: the first one is the frame.

    Raises:
        ExtractionFailed: the CSV is cut off, has rows that are not of pictures in turn, or lacks columns.
    """
    if not csv.endswith(b"\n"):
        raise ExtractionFailed("OpenFace's CSV for this frame is cut off; is TEMP_DIR full?")
    header, *rows = csv.splitlines(keepends=True)
    if len(rows) != 1 and not _are_in_turn(rows):
        raise ExtractionFailed(f"OpenFace wrote {len(rows)} rows for this frame, not one")
    n_columns = _count_columns(header)
    cells = rows[0].split(b",")
    if len(cells) != n_columns:
        raise ExtractionFailed(f"OpenFace's row for this frame has {len(cells)} values under {n_columns} columns")
    if cells[_SUCCESS].strip() == b"0":
        return _NO_FACE
    return csv if len(rows) == 1 else header + rows[0]


def generation_of(csv: bytes) -> Generation:
    """Tell by its header which generation of OpenFace wrote a CSV."""
    return "2.0" if csv.startswith(b"frame, ") else "2.2"


def _are_in_turn(rows: Sequence[bytes]) -> bool:
    """Whether these are the frames 1, 2, 3 of one file; several faces would be rows of one frame."""
    return bool(rows) and all(row.startswith(b"%d," % number) for number, row in enumerate(rows, start=1))


@lru_cache(maxsize=8)
def _count_columns(header: bytes) -> int:
    names = [name.strip().decode("utf-8", "replace") for name in header.split(b",")]
    if tuple(names[: len(COLUMNS)]) != COLUMNS:  # more may follow: action units
        raise ExtractionFailed(
            f"OpenFace wrote {len(names)} columns, and not the {len(COLUMNS)} that are asked of it; "
            "run `deepfake-serve doctor`"
        )
    return len(names)
