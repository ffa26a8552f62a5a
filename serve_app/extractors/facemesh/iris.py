"""The eyes: lid contour and iris from a crop around each one."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from serve_app.extractors.facemesh.crop import Crop, warp
from serve_app.extractors.facemesh.landmarks import N_CONTOUR_POINTS, points_of_eye
from serve_app.extractors.facemesh.networks import Network

Array = npt.NDArray[np.float64]

_CROP_PER_EYE = 2.3
_IRIS_ORDER = ([3, 2, 1, 4], [1, 2, 3, 4])  # after its middle: image-left, top, image-right, bottom, of either eye
_CORNERS = ((33, 133), (362, 263))  # mesh points, image-left corner first, of the image-left eye and the other


@dataclass(frozen=True)
class Eye:
    """One eye, in px of the picture: its ``landmarks`` of the 68, ``(6, 2)``, and its 28 ``points``, ``(28, 2)``."""

    landmarks: Array
    points: Array


def find_eyes(network: Network, picture: Image.Image, mesh_points: Array) -> tuple[Eye, Eye]:
    """Find both eyes of a mesh, image-left first."""
    angle = _eye_line_angle(mesh_points)
    return (
        _find_eye(network, picture, mesh_points, angle, image_right=False),
        _find_eye(network, picture, mesh_points, angle, image_right=True),
    )


def _eye_line_angle(mesh_points: Array) -> float:
    across_x, across_y = (mesh_points[263, :2] - mesh_points[33, :2]).tolist()
    return math.atan2(across_y, across_x)


def _find_eye(network: Network, picture: Image.Image, mesh_points: Array, angle: float, *, image_right: bool) -> Eye:
    first, second = mesh_points[list(_CORNERS[image_right]), :2].tolist()
    center = ((first[0] + second[0]) / 2, (first[1] + second[1]) / 2)
    side_px = math.dist(first, second) * _CROP_PER_EYE
    crop = Crop(center, side_px, angle, mirrored=image_right)  # the network knows one side only
    contour, iris = network(warp(picture, crop, network.input_side_px))
    seen = [contour.reshape(-1, 3)[:N_CONTOUR_POINTS], iris.reshape(-1, 3)[_IRIS_ORDER[image_right]]]
    points = np.concatenate(seen, dtype=np.float64)[:, :2] / network.input_side_px
    placed = crop.to_picture(points_of_eye(points, image_right=image_right))
    return Eye(placed[:6], placed[6:])
