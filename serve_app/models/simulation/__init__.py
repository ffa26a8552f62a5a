"""Simulated faces: real ones and their fakes as the rows of features an extractor would write.

A row is made as a real one is: a head in 3D, seen by a camera, reported by a noisy landmark network, fitted,
lifted and rounded by the extractor's arithmetic. A fake changes the face in the picture, before the network;
all that is derived from its landmarks follows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serve_app.models.simulation.anatomy import sample_heads
from serve_app.models.simulation.extractors import EXTRACTORS, SimulatedExtractor
from serve_app.models.simulation.fakes import FakeFamily, Pairs, forge
from serve_app.models.simulation.scene import render, sample_views
from serve_app.settings import Backend

__all__ = ["FakeFamily", "SimulatedRows", "simulate"]

REAL = "real"
_CHUNK = 512  # identities at a time: bounds memory to some 100 MB


@dataclass(frozen=True)
class SimulatedRows:
    """``n`` rows: ``features`` ``(n, 674) float32``, ``labels`` ``(n,) float32``, 0 real and 1 fake.

    ``family`` ``(n,)`` holds "real" or a ``FakeFamily``'s value; ``identity`` ``(n,)`` is the target's, from 0.
    """

    features: npt.NDArray[np.float32]
    labels: npt.NDArray[np.float32]
    family: npt.NDArray[np.str_]
    identity: npt.NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.labels)


def simulate(
    seed: int,
    n_identities: int,
    *,
    backend: Backend = "facemesh",
    n_frames: int = 2,
    families: Sequence[FakeFamily] = tuple(FakeFamily),
) -> SimulatedRows:
    """Simulate ``n_frames`` real rows of each identity, and one fake of each of them; the same seed, the same rows."""
    starts = range(0, n_identities, _CHUNK)
    seeds = np.random.SeedSequence(seed).spawn(len(starts))
    chunks = [
        _simulate_chunk(
            np.random.default_rng(child),
            EXTRACTORS[backend],
            range(start, min(start + _CHUNK, n_identities)),
            n_frames,
            families,
        )
        for child, start in zip(seeds, starts, strict=True)
    ]
    return SimulatedRows(
        *(np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in SimulatedRows.__dataclass_fields__)
    )


def _simulate_chunk(
    rng: np.random.Generator,
    extractor: SimulatedExtractor,
    identities: range,
    n_frames: int,
    families: Sequence[FakeFamily],
) -> SimulatedRows:
    n = len(identities) * n_frames
    heads, donors = (sample_heads(rng, len(identities), n_frames) for _ in range(2))
    views = sample_views(rng, n)
    pairs = Pairs(heads, donors, views)
    real = extractor.extract(rng, render(heads, views), views.size)
    fakes = np.empty_like(real)
    drawn = rng.integers(len(families), size=n)
    for index in np.unique(drawn):
        rows = np.flatnonzero(drawn == index)
        chosen = pairs.take(rows)
        fakes[rows] = extractor.extract(rng, forge(rng, families[index], chosen), chosen.views.size)
    return SimulatedRows(
        features=np.concatenate([real, fakes]),
        labels=np.repeat(np.array([0.0, 1.0], np.float32), n),
        family=np.concatenate([np.full(n, REAL), np.array([family.value for family in families])[drawn]]),
        identity=np.tile(np.repeat(np.array(identities), n_frames), 2),
    )
