"""The reference face: 68 points in 3D and the ways in which it deforms.

``reference_shape.npz`` is this project's own, made by ``benchmarks/derive_reference_shape.py``. Axes are
OpenFace's (X right, Y down, Z away from the camera), the unit is mm, the centroid is 0. The modes are
smooth deformations of the landmark graph, not OpenFace's: parameters are mm like OpenFace's ``p_0..p_33``,
but mean something else.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from serve_app.features.schema import N_LANDMARKS, N_SHAPE_PARAMS

Array = npt.NDArray[np.float64]


def _read_only(array: Array) -> Array:
    array.setflags(write=False)
    return array


with np.load(Path(__file__).with_name("reference_shape.npz")) as _stored:
    REFERENCE_SHAPE: Array = _read_only(_stored["shape"].astype(np.float64))
    """``(68, 3) float64`` mm, centroid 0."""
    SHAPE_MODES: Array = _read_only(_stored["modes"].astype(np.float64))
    """``(34, 68, 3) float64``, orthonormal; none of them moves, turns or scales the reference shape."""

_FLAT_MODES = SHAPE_MODES.reshape(N_SHAPE_PARAMS, N_LANDMARKS * 3)


def shape_from_params(params: Array) -> Array:
    """Deform the reference: ``(..., 34)`` mm to ``(..., 68, 3)`` mm."""
    return REFERENCE_SHAPE + (params @ _FLAT_MODES).reshape(*params.shape[:-1], N_LANDMARKS, 3)


def params_from_shape(shape: Array) -> Array:
    """Least-squares parameters of an aligned shape: ``(..., 68, 3)`` mm to ``(..., 34)`` mm."""
    offsets = (shape - REFERENCE_SHAPE).reshape(*shape.shape[:-2], N_LANDMARKS * 3)
    return np.asarray(offsets @ _FLAT_MODES.T)
