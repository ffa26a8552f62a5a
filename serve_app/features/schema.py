"""The columns of an OpenFace CSV: names, order, decimals and units; the only place a column name is written.

Names and order are those of ``FeatureExtraction -2Dfp -3Dfp -pdmparams -pose -gaze``: 5 metadata columns
and 674 features. Runs with ``-aus`` add 35 action-unit columns, which are not features here.

Axes: X right, Y down, Z away from the camera. "left" is image-left (the subject's right side): eye 0.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

N_LANDMARKS = 68
N_EYE_LANDMARKS = 56  # 28 per eye, image-left eye first
N_SHAPE_PARAMS = 34


@dataclass(frozen=True)
class ColumnGroup:
    """Neighbouring columns of one kind: ``names`` in order, written with ``decimals`` digits, in ``unit``."""

    names: tuple[str, ...]
    decimals: int
    unit: str


def _numbered(prefix: str, count: int) -> Iterator[str]:
    return (f"{prefix}_{index}" for index in range(count))


def _axes(prefix: str, axes: str, count: int) -> tuple[str, ...]:
    """All of the first axis, then all of the next, as OpenFace orders them."""
    return tuple(name for axis in axes for name in _numbered(f"{prefix}{axis}", count))


METADATA_GROUPS: Mapping[str, ColumnGroup] = MappingProxyType(
    {
        "frame": ColumnGroup(("frame", "face_id"), 0, "index"),
        "timestamp": ColumnGroup(("timestamp",), 3, "s"),
        "confidence": ColumnGroup(("confidence",), 2, "1"),
        "success": ColumnGroup(("success",), 0, "0 or 1"),
    }
)

FEATURE_GROUPS: Mapping[str, ColumnGroup] = MappingProxyType(
    {
        "gaze": ColumnGroup(tuple(f"gaze_{eye}_{axis}" for eye in (0, 1) for axis in "xyz"), 6, "unit vector"),
        "gaze_angle": ColumnGroup(("gaze_angle_x", "gaze_angle_y"), 3, "rad"),
        "eye_landmarks_2d": ColumnGroup(_axes("eye_lmk_", "xy", N_EYE_LANDMARKS), 1, "px"),
        "eye_landmarks_3d": ColumnGroup(_axes("eye_lmk_", "XYZ", N_EYE_LANDMARKS), 1, "mm"),
        "pose_translation": ColumnGroup(("pose_Tx", "pose_Ty", "pose_Tz"), 1, "mm"),
        "pose_rotation": ColumnGroup(("pose_Rx", "pose_Ry", "pose_Rz"), 3, "rad"),
        "landmarks_2d": ColumnGroup(_axes("", "xy", N_LANDMARKS), 1, "px"),
        "landmarks_3d": ColumnGroup(_axes("", "XYZ", N_LANDMARKS), 1, "mm"),
        # scale in px/mm, rotation in rad, translation in px: the weak-perspective camera
        "shape_camera": ColumnGroup(("p_scale", "p_rx", "p_ry", "p_rz", "p_tx", "p_ty"), 3, "px/mm, rad, px"),
        "shape": ColumnGroup(tuple(_numbered("p", N_SHAPE_PARAMS)), 3, "mm"),
    }
)


def _names(groups: Mapping[str, ColumnGroup]) -> tuple[str, ...]:
    return tuple(name for group in groups.values() for name in group.names)


def _slices() -> Mapping[str, slice]:
    slices, start = {}, 0
    for key, group in FEATURE_GROUPS.items():
        slices[key] = slice(start, start + len(group.names))
        start += len(group.names)
    return MappingProxyType(slices)


METADATA_COLUMNS = _names(METADATA_GROUPS)
FEATURE_COLUMNS = _names(FEATURE_GROUPS)
COLUMNS = METADATA_COLUMNS + FEATURE_COLUMNS
FEATURE_COUNT = len(FEATURE_COLUMNS)
FEATURE_SLICES = _slices()
"""Where each group of ``FEATURE_GROUPS`` lies in a ``(674,)`` feature row."""

COLUMN_DECIMALS = tuple(
    group.decimals for groups in (METADATA_GROUPS, FEATURE_GROUPS) for group in groups.values() for _ in group.names
)
