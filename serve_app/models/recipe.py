"""Recipes: all that decides a trained model, from its rows to the folder that the registry reads."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from serve_app.models.artifact import pack_weights, write_artifact
from serve_app.models.calibration import Calibration, CalibrationMethod, fit_calibration, uncertain_band
from serve_app.models.card import write_card
from serve_app.models.dataset import LabelledRows
from serve_app.models.evaluation import Evaluation, evaluate, flat_metrics
from serve_app.models.mixture import (
    LABELLED,
    SIMULATED,
    LabelledFolder,
    Mixture,
    mix,
    simulate_parts,
    split_folder,
    unmixed,
)
from serve_app.models.network import DeepfakeNet
from serve_app.models.novelty import fit_novelty
from serve_app.models.registry import (
    Manifest,
    ModelRegistry,
    TrainingSummary,
    UncertainBand,
    feature_list,
    require_model_name,
)
from serve_app.models.training import CheckpointFile, EpochReport, TrainingPlan, compute_logits, train_network
from serve_app.models.writing import make_writable
from serve_app.settings import DEFAULT_MODEL, Backend

_CREATED_BY = "deepfake-serve train"
_LICENSE = "Apache-2.0"  # the project's, for what was made with nothing else
_LICENSE_OF_LABELLED = "not stated; the terms of the labelled videos may bind it"


@dataclass(frozen=True)
class Recipe:
    """What to train: for whose features, from which seed, on how many simulated people, how many times over.

    ``labelled`` rows are mixed in, or take the place of simulated ones where their share is 1.
    """

    backend: Backend
    seed: int
    n_identities: int
    epochs: int
    name: str = DEFAULT_MODEL
    calibration: CalibrationMethod = "temperature"
    labelled: LabelledFolder | None = None


@dataclass(frozen=True)
class Trained:
    """A model that was written into ``folder``, and how good it is, by how the metrics' names end."""

    folder: Path
    manifest: Manifest
    evaluations: Mapping[str, Evaluation]


def checkpoint_of(output_dir: Path, recipe: Recipe) -> Path:
    """Where a training keeps what it has done, from the end of its first epoch until its model is written."""
    return output_dir / f"{recipe.name}.{recipe.backend}.checkpoint"


def train_model(
    output_dir: Path, recipe: Recipe, *, is_resumed: bool = False, on_epoch: Callable[[EpochReport], None]
) -> Trained:
    """Train, calibrate, measure and write ``<output_dir>/<name>/<next version>/``.

    The same recipe gives the same model on one machine. A checkpoint is kept in ``output_dir`` until it is written.

    Raises:
        ArtifactInvalid: no model can have that name.
        CheckpointUnusable: training is to go on from a checkpoint that is not there, or not of this recipe.
        DatasetInvalid, RowsUnusable: the labelled folder cannot be learnt from.
        OSError: the output folder cannot be written.
    """
    require_model_name(recipe.name)
    make_writable(output_dir)
    checkpoint = CheckpointFile(checkpoint_of(output_dir, recipe), is_resumed)
    rows = gather_rows(recipe)
    plan = TrainingPlan(recipe.backend, recipe.seed, recipe.epochs)
    network = train_network(plan, rows, checkpoint=checkpoint, on_epoch=on_epoch)
    trained = _write(output_dir, recipe, rows, network)
    checkpoint.path.unlink(missing_ok=True)  # another training in the same folder may have ended first
    return trained


def gather_rows(recipe: Recipe) -> Mixture:
    """Simulate, read, split and mix the rows of a recipe.

    Raises:
        DatasetInvalid, RowsUnusable: the labelled folder cannot be learnt from.
    """
    labelled = recipe.labelled
    if labelled is None:
        return unmixed(simulate_parts(recipe.backend, recipe.seed, recipe.n_identities), SIMULATED)
    parts = split_folder(labelled, recipe.seed)
    if labelled.share == 1.0:
        return unmixed(parts, LABELLED)
    return mix(simulate_parts(recipe.backend, recipe.seed, recipe.n_identities), parts, labelled.share, recipe.seed)


def _write(output_dir: Path, recipe: Recipe, rows: Mixture, network: DeepfakeNet) -> Trained:
    """Calibrate and measure a network, and write its folder."""
    labels, logits = rows.validation.labels, compute_logits(network, rows.validation.features)
    calibration = fit_calibration(recipe.calibration, labels, logits)
    low, high = uncertain_band(labels, calibration.scores(logits))
    evaluations = {suffix: _measure(network, calibration, test) for suffix, test in rows.tests.items()}
    network.novelty, novelty = fit_novelty(network.inputs, rows.train.features, rows.validation.features)
    weights, weights_sha256 = pack_weights(network)
    manifest = Manifest(
        name=recipe.name,
        version=max(ModelRegistry(output_dir).versions(recipe.name), default=0) + 1,
        architecture="inverted-residual-1d",
        backend=recipe.backend,
        features=feature_list(),
        uncertain_band=UncertainBand(low=round(low, 4), high=round(high, 4)),
        calibration=calibration,
        novelty=novelty,
        weights_sha256=weights_sha256,
        license=_LICENSE if recipe.labelled is None else _LICENSE_OF_LABELLED,
        metrics={
            name: value
            for suffix, evaluation in evaluations.items()
            for name, value in flat_metrics(evaluation, suffix).items()
        },
        training=_summarise(recipe, rows),
    )
    return Trained(write_artifact(output_dir, manifest, weights, write_card(manifest)), manifest, evaluations)


def _measure(network: DeepfakeNet, calibration: Calibration, rows: LabelledRows) -> Evaluation:
    scores = calibration.scores(compute_logits(network, rows.features))
    return evaluate(rows.scored(scores))


def _summarise(recipe: Recipe, rows: Mixture) -> TrainingSummary:
    return TrainingSummary(
        created_by=_CREATED_BY,
        seed=recipe.seed,
        n_identities=recipe.n_identities if SIMULATED in rows.tests else 0,
        n_rows=len(rows.train),
        epochs=recipe.epochs,
        n_labelled_rows=rows.n_labelled,
        n_labelled_groups=len(np.unique(rows.train.group[len(rows.train) - rows.n_labelled :])),
        labelled_share=recipe.labelled.share if recipe.labelled else 0.0,
    )
