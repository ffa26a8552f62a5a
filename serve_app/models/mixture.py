"""Mixtures: the rows a model learns from and those it is judged by, simulated, labelled, or both."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from serve_app.models.dataset import LabelledRows, load_dataset, split_rows
from serve_app.models.simulation import simulate
from serve_app.settings import Backend, ParserSettings

SIMULATED, LABELLED = "_simulated", ""
"""How the names of metrics end that were measured on such rows."""

_HELD_OUT_SHARE = 4  # one identity held out for validation, and one for the test, per this many in training
_SPLIT = (2 / 3, 1 / 6, 1 / 6)  # the same of labelled rows


@dataclass(frozen=True)
class LabelledFolder:
    """A folder of labelled CSVs, its ``share`` of the rows that are learnt in an epoch, and how many a video gives."""

    path: Path
    share: float
    rows_per_video: int


@dataclass(frozen=True)
class Parts:
    """Rows to learn from, to calibrate on, and to measure on: no person is in two of them."""

    train: LabelledRows
    validation: LabelledRows
    test: LabelledRows


@dataclass(frozen=True)
class Mixture:
    """What a model is trained with.

    An epoch passes over the rows ``train[drawn]``, ``drawn`` ``(m,)``; the last ``n_labelled`` of ``train`` are no
    simulation. ``validation`` is what the model is calibrated on; ``tests`` are what it is measured on, by how the
    metrics' names end.
    """

    train: LabelledRows
    n_labelled: int
    drawn: npt.NDArray[np.intp]
    validation: LabelledRows
    tests: Mapping[str, LabelledRows]


def simulate_parts(backend: Backend, seed: int, n_identities: int) -> Parts:
    """Simulate three sets of rows from independent seeds, 4 rows of each identity; no donor is in two of them."""
    seeds = np.random.SeedSequence(seed).generate_state(3)
    n_held_out = max(n_identities // _HELD_OUT_SHARE, 1)
    sizes = (n_identities, n_held_out, n_held_out)
    return Parts(
        *(
            LabelledRows.of_simulation(simulate(int(part_seed), size, backend=backend))
            for part_seed, size in zip(seeds, sizes, strict=True)
        )
    )


def split_folder(folder: LabelledFolder, seed: int) -> Parts:
    """Read a labelled folder and split its people.

    Raises:
        DatasetInvalid: the folder does not hold what its labels file says.
        RowsUnusable: there are too few people to split.
    """
    rows = load_dataset(
        folder.path, rows_per_video=folder.rows_per_video, min_confidence=ParserSettings().min_confidence
    )
    return Parts(*split_rows(rows, _SPLIT, seed))


def unmixed(parts: Parts, kind: str) -> Mixture:
    """Learn from rows of one kind, ``SIMULATED`` or ``LABELLED``, each once in an epoch."""
    n_rows = len(parts.train)
    n_labelled = n_rows if kind == LABELLED else 0
    return Mixture(parts.train, n_labelled, np.arange(n_rows), parts.validation, {kind: parts.test})


def mix(simulated: Parts, labelled: Parts, labelled_share: float, seed: int) -> Mixture:
    """Learn from every simulated row once in an epoch, and from labelled ones as often as makes up their share.

    Calibration is on labelled rows: their scores are those that matter.
    """
    n_simulated, n_labelled = len(simulated.train), len(labelled.train)
    n_drawn = round(n_simulated * labelled_share / (1.0 - labelled_share))
    order = np.random.default_rng(seed).permutation(n_labelled)
    return Mixture(
        train=LabelledRows.joined(simulated.train, labelled.train),
        n_labelled=n_labelled,
        drawn=np.concatenate([np.arange(n_simulated), n_simulated + np.resize(order, n_drawn)]),
        validation=labelled.validation,
        tests={SIMULATED: simulated.test, LABELLED: labelled.test},
    )
