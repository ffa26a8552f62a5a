"""The face-mesh extractor: the bytes of a frame in, OpenFace's CSV out."""

from threading import Event, Lock
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from serve_app.extractors.facemesh.fit import FaceFit, fit_face
from serve_app.extractors.facemesh.iris import find_eyes
from serve_app.extractors.facemesh.landmarks import eye_landmarks, eye_of_contour, landmarks_of_mesh
from serve_app.extractors.facemesh.mesh import FaceMesh
from serve_app.extractors.facemesh.networks import Network, Networks
from serve_app.extractors.facemesh.search import MIN_TILED_SIDE_PX, FaceSearch, is_face
from serve_app.extractors.image import Picture, decode
from serve_app.features.geometry import Camera
from serve_app.features.table import write_face, write_features
from serve_app.settings import Backend, ExtractorSettings

Array = npt.NDArray[np.float64]


class FaceMeshExtractor:
    """Finds the largest face of a frame; the networks stay loaded, and one frame at a time uses them."""

    backend: ClassVar[Backend] = "facemesh"

    def __init__(self, settings: ExtractorSettings) -> None:
        networks = Networks.load(settings.weights_dir)
        self._max_pixels = settings.max_pixels
        self._search = FaceSearch(networks)
        self._iris_network = networks.iris
        self._lock = Lock()  # an interpreter's tensors belong to the call that filled them

    def extract(self, image: bytes, stop: Event | None = None) -> bytes:
        """Turn one image into OpenFace's CSV of one row; without a face the row is zero, success included.

        ``stop`` is for extractors that hang: this one is done before anybody could look at it.

        Raises:
            Undecodable: the bytes are not a picture that this service reads.
        """
        picture = decode(image, max_pixels=self._max_pixels)
        with self._lock:
            mesh = self._search.find(picture.pixels)
            if not is_face(mesh) and max(picture.full_size) >= MIN_TILED_SIDE_PX:
                picture = decode(image, max_pixels=self._max_pixels, full=True)
                mesh = self._search.find_in_tiles(picture.pixels)
            if not is_face(mesh):
                return write_face({"frame": 1})
            fit = _fit(self._iris_network, picture, mesh)
        return write_features(fit.features(), confidence=mesh.confidence)

    def check(self) -> None:
        """Loaded networks do not break."""

    def close(self) -> None:
        """Nothing was started."""


def _fit(iris_network: Network, picture: Picture, mesh: FaceMesh) -> FaceFit:
    left, right = find_eyes(iris_network, picture.pixels, mesh.points)
    landmarks = landmarks_of_mesh(mesh.points)
    landmarks[36:42, :2] = eye_of_contour(left.contour, image_right=False)
    landmarks[42:48, :2] = eye_of_contour(right.contour, image_right=True)
    eyes = np.concatenate([eye_landmarks(eye.contour, eye.iris, image_right=eye.image_right) for eye in (left, right)])
    landmarks[:, 2] *= picture.scale
    landmarks[:, :2] = _openface_px(landmarks[:, :2], picture)
    return fit_face(landmarks, _openface_px(eyes, picture), Camera.of_image(*picture.full_size))


def _openface_px(points: Array, picture: Picture) -> Array:
    """From the picture's px to the full image's as OpenFace counts them: from the middle of the first pixel."""
    return points * picture.scale - 0.5
