"""Extractors: how each backend errs, fits and looks, which is all in which their simulated rows differ."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from serve_app.features.geometry import EYEBALL_OFFSET_MM
from serve_app.models.simulation.fits import Fit, fit_reference, fit_stand_in
from serve_app.models.simulation.measurement import measure
from serve_app.models.simulation.scene import Faces, LandmarkNoise, detect
from serve_app.settings import Backend

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SimulatedExtractor:
    """One backend: its landmarks' errors, its shape fit, and where it takes an eyeball to be, ``(3,)`` mm."""

    noise: LandmarkNoise
    fit: Callable[[Array, np.random.Generator], Fit]
    eyeball_offset: Array

    def extract(self, rng: np.random.Generator, faces: Faces, size: Array) -> npt.NDArray[np.float32]:
        """Compute the features ``(n, 674) float32`` of faces in pictures of ``size`` ``(n, 2)`` px."""
        seen = detect(rng, faces, self.noise)
        return measure(self.fit(seen.landmarks, rng), seen.eyes, size, self.eyeball_offset)


EXTRACTORS: Mapping[Backend, SimulatedExtractor] = MappingProxyType(
    {
        # Sized so that what the extractor shows on a few real photographs (residuals of the fit, gaze of one eye
        # against the other, lids) lies well within what is simulated.
        "facemesh": SimulatedExtractor(
            noise=LandmarkNoise(
                spread=0.35,
                smooth_mm=0.3,
                point_mm=0.06,
                jaw_mm=0.35,
                mouth_mm=0.3,
                lid_mm=0.2,
                iris_mm=0.35,
                iris_shape=0.3,
                iris_zoom=1.0,
                outer_corner_mm=2.8,
            ),
            fit=fit_reference,
            eyeball_offset=EYEBALL_OFFSET_MM,
        ),
        # Sized on what the real OpenFace wrote of 30 frames of one person, who took no part in the training, and on
        # how far its landmarks lie from the face mesh's over four persons: 2.3 % of the outer eye distance, jaw 3.5 %.
        "openface": SimulatedExtractor(
            noise=LandmarkNoise(
                spread=0.4,
                smooth_mm=0.5,
                point_mm=0.2,
                jaw_mm=1.0,
                mouth_mm=1.0,
                lid_mm=0.3,
                iris_mm=0.35,
                iris_shape=0.8,
                iris_zoom=1.15,  # as its eyes float 6 to 20 % nearer than its face
                outer_corner_mm=0.0,
            ),
            fit=fit_stand_in,
            eyeball_offset=np.array([0.0, -3.5, 7.0]),  # GazeEstimation.cpp
        ),
    }
)
