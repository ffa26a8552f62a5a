"""What says nothing about a face hardly moves its score: where it is, how large, and how the picture was cut.

Simulated faces are taken to another place before the extractor sees them, with the same errors of its network in mm;
what is left is the extractor's guess of the camera, and the rounding of the CSV.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
import numpy.typing as npt
import pytest

from serve_app.models.detector import Detector
from serve_app.models.simulation.anatomy import sample_heads
from serve_app.models.simulation.extractors import EXTRACTORS, SimulatedExtractor
from serve_app.models.simulation.fakes import FakeFamily, Pairs, forge
from serve_app.models.simulation.scene import Faces, render, sample_views
from serve_app.settings import Backend

Array = npt.NDArray[np.float64]
pytestmark = pytest.mark.slow
N_FACES = 200  # as many real ones, and as many fakes


@dataclass(frozen=True)
class Pictures:
    """Faces, and the sizes ``(n, 2)`` px of the pictures they are in."""

    faces: Faces
    size: Array

    def shifted(self, shift: Array) -> "Pictures":
        """Move the faces by ``(n, 2)`` px."""
        landmarks = self.faces.landmarks.copy()
        landmarks[..., :2] += shift[:, None]
        return replace(
            self, faces=replace(self.faces, landmarks=landmarks, irises=self.faces.irises + shift[:, None, None])
        )

    def zoomed(self, zoom: float) -> "Pictures":
        """Resize the pictures."""
        faces = Faces(self.faces.landmarks * zoom, self.faces.irises * zoom, self.faces.scale * zoom)
        return Pictures(faces, self.size * zoom)

    def framed(self, margin: float) -> "Pictures":
        """Add a margin, in shares of the picture, on the left and above; cut it off where it is below 0."""
        return replace(self.shifted(margin * self.size), size=self.size * (1.0 + margin))

    def features(self, extractor: SimulatedExtractor) -> npt.NDArray[np.float32]:
        return extractor.extract(np.random.default_rng(8), self.faces, self.size)


def sample_pictures(family: FakeFamily) -> list[Pictures]:
    """Real faces, and a fake of each."""
    rng = np.random.default_rng(7)
    heads, donors = (sample_heads(rng, N_FACES, 1) for _ in range(2))
    views = sample_views(rng, N_FACES)
    return [
        Pictures(faces, views.size) for faces in (render(heads, views), forge(rng, family, Pairs(heads, donors, views)))
    ]


NUISANCES: dict[str, Callable[[Pictures], Pictures]] = {
    "translation": lambda pictures: pictures.shifted(0.1 * pictures.size),
    "half the size": lambda pictures: pictures.zoomed(0.5),
    "twice the size": lambda pictures: pictures.zoomed(2.0),
    "crop": lambda pictures: pictures.framed(-0.15),
    "margin": lambda pictures: pictures.framed(0.3),
}
MEDIAN_LIMIT, TAIL_LIMIT = 0.03, 0.15  # of how far a score moves: the median, and the 95th percentile


@pytest.fixture(scope="module", params=get_args(Backend))
def shipped(request: pytest.FixtureRequest) -> Detector:
    """Either shipped model."""
    fixtures: dict[Backend, str] = {"facemesh": "detector", "openface": "openface_detector"}
    detector: Detector = request.getfixturevalue(fixtures[request.param])
    return detector


@pytest.fixture(scope="module")
def swaps() -> list[Pictures]:
    """Real faces, and a swap of each."""
    return sample_pictures(FakeFamily.FACE_SWAP)


@pytest.fixture(scope="module")
def usual_scores(shipped: Detector, swaps: list[Pictures]) -> list[npt.NDArray[np.float32]]:
    """Of the real faces and of the swaps, where they are."""
    return [shipped.scores(pictures.features(EXTRACTORS[shipped.manifest.backend])) for pictures in swaps]


@pytest.mark.parametrize("nuisance", NUISANCES)
def test_a_nuisance_hardly_moves_a_score(
    nuisance: str, shipped: Detector, swaps: list[Pictures], usual_scores: list[npt.NDArray[np.float32]]
) -> None:
    """Of real faces and of swaps."""
    extractor = EXTRACTORS[shipped.manifest.backend]
    for pictures, before in zip(swaps, usual_scores, strict=True):
        moves = np.abs(shipped.scores(NUISANCES[nuisance](pictures).features(extractor)) - before)
        assert np.median(moves) < MEDIAN_LIMIT
        assert np.quantile(moves, 0.95) < TAIL_LIMIT


def test_a_forgery_moves_a_score_much_more(shipped: Detector) -> None:
    """One of the eyes alone; a score that never moved would pass the tests above."""
    extractor = EXTRACTORS[shipped.manifest.backend]
    real, fake = (shipped.scores(pictures.features(extractor)) for pictures in sample_pictures(FakeFamily.GAZE))
    assert (fake - real).mean() > 2 * TAIL_LIMIT
