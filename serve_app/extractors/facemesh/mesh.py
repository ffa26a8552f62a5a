"""The face mesh: 468 points in 3D from a crop around one face."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from serve_app.extractors.facemesh.crop import Crop, warp
from serve_app.extractors.facemesh.detection import Detection
from serve_app.extractors.facemesh.networks import Network, sigmoid

Array = npt.NDArray[np.float64]

N_MESH_POINTS = 468
_CROP_PER_BOX = 1.5

# Mesh points whose means are the detector's first four key points: both eyes, the nose, the mouth.
_KEY_POINTS = np.array([(33, 133), (263, 362), (1, 1), (13, 14)]).T


@dataclass(frozen=True)
class FaceMesh:
    """A mesh laid over a face.

    ``points`` is ``(468, 3)`` px of the picture, depth away from the camera in the same unit around 0;
    ``presence`` is the network's own P(face), ``deviation`` how far its eyes, nose and mouth lie from the
    detector's, in distances between the eyes. Good meshes deviate by 0.03 to 0.06, wrong ones by 0.2.
    """

    points: Array
    presence: float
    deviation: float

    @property
    def confidence(self) -> float:
        """How sure the extractor is of this face, 0..1: near 1 on faces, near 0 elsewhere."""
        return self.presence * float(np.clip(1.0 - (self.deviation - 0.10) / 0.25, 0.0, 1.0))


def lay_mesh(network: Network, picture: Image.Image, detection: Detection) -> FaceMesh:
    """Run the mesh network on a detected face."""
    x, y = detection.center
    crop = Crop((float(x), float(y)), detection.side_px * _CROP_PER_BOX, detection.angle)
    side_px = network.input_side_px
    # One sample a pixel moves landmarks by 0.1 % of the eye distance, as JPEG does, and takes a third of the time.
    flat, logit = network(warp(picture, crop, side_px, samples=1))
    points = crop.to_picture(flat.reshape(N_MESH_POINTS, 3).astype(np.float64) / side_px)
    return FaceMesh(points, float(sigmoid(logit.astype(np.float64))[0]), _deviation(points, detection))


def _deviation(points: Array, detection: Detection) -> float:
    first, second = points[_KEY_POINTS, :2]
    seen = ((first + second) / 2).tolist()
    misses_px = list(map(math.dist, seen, detection.key_points[: len(seen)].tolist()))
    eye_span_px = math.dist(seen[0], seen[1])
    return sum(misses_px) / len(misses_px) / max(eye_span_px, 1e-6)
