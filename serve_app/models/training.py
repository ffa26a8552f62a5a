"""Training the default model on simulated faces, identities held out for calibration and for the test."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from serve_app.features.shape import REFERENCE_SHAPE, SHAPE_MODES
from serve_app.models.artifact import pack_weights, write_artifact
from serve_app.models.calibration import TemperatureCalibration, fit_temperature
from serve_app.models.card import write_card
from serve_app.models.evaluation import auc, sigmoid, simulated_metrics
from serve_app.models.network import DeepfakeNet
from serve_app.models.registry import (
    Manifest,
    ModelRegistry,
    TrainingSummary,
    UncertainBand,
    feature_list,
)
from serve_app.models.simulation import SimulatedRows, simulate
from serve_app.settings import DEFAULT_MODEL, Backend

_BATCH_ROWS = 256
_LEARNING_RATE = 3e-3
_WEIGHT_DECAY = 0.1
_HELD_OUT_SHARE = 4  # one identity held out for validation, and one for the test, per this many in training
_UNCERTAIN = UncertainBand(low=0.35, high=0.65)  # a calibrated score in here is right less than two times in three
_CREATED_BY = "deepfake-serve train"


@dataclass(frozen=True)
class Recipe:
    """What to train: for whose features, from which seed, on how many simulated people, how many times over."""

    backend: Backend
    seed: int
    n_identities: int
    epochs: int


@dataclass(frozen=True)
class EpochReport:
    """Where training stands: ``epoch`` from 1 of ``epochs``, mean loss in nats, AUC on the validation identities."""

    epoch: int
    epochs: int
    loss: float
    validation_auc: float


@dataclass(frozen=True)
class _Split:
    train: SimulatedRows
    validation: SimulatedRows
    test: SimulatedRows


def train_default(output_dir: Path, recipe: Recipe, *, on_progress: Callable[[EpochReport], None]) -> Manifest:
    """Train, calibrate, test and write ``<output_dir>/mobilenetv2_celebv2/<next version>/``.

    Simulates 4 rows for each of ``n_identities``; the same recipe gives the same model on one machine.
    """
    split = _simulate_split(recipe)
    network = _train_network(recipe, split, on_progress)
    temperature = fit_temperature(split.validation.labels, compute_logits(network, split.validation.features))
    scores = sigmoid(compute_logits(network, split.test.features) / temperature)
    weights, weights_sha256 = pack_weights(network)
    manifest = Manifest(
        name=DEFAULT_MODEL,
        version=max(ModelRegistry(output_dir).versions(DEFAULT_MODEL), default=0) + 1,
        architecture="inverted-residual-1d",
        backend=recipe.backend,
        features=feature_list(),
        uncertain_band=_UNCERTAIN,
        calibration=TemperatureCalibration(temperature=temperature),
        weights_sha256=weights_sha256,
        license="Apache-2.0",
        metrics=simulated_metrics(split.test.labels, scores, split.test.family),
        training=TrainingSummary(
            created_by=_CREATED_BY,
            seed=recipe.seed,
            n_identities=recipe.n_identities,
            n_rows=len(split.train),
            epochs=recipe.epochs,
        ),
    )
    write_artifact(output_dir, manifest, weights, write_card(manifest))
    return manifest


def compute_logits(network: DeepfakeNet, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Run a network over ``(n, 674) float32`` rows in batches: logits ``(n,) float32``."""
    network.eval()
    with torch.inference_mode():
        parts = [network(batch) for batch in torch.split(torch.from_numpy(features), _BATCH_ROWS)]
    return torch.cat(parts).numpy()


def reference_tensors() -> tuple[Tensor, Tensor]:
    """The reference shape ``(3, 68)`` and its modes ``(34, 204)``, laid out as ``FaceInputs.fit`` takes them."""
    shape = torch.tensor(REFERENCE_SHAPE.T.copy(), dtype=torch.float32)
    modes = torch.tensor(SHAPE_MODES.transpose(0, 2, 1).reshape(len(SHAPE_MODES), -1).copy(), dtype=torch.float32)
    return shape, modes


def _simulate_split(recipe: Recipe) -> _Split:
    """Simulate three sets of rows from independent seeds: no identity, and no donor, is in two of them."""
    seeds = np.random.SeedSequence(recipe.seed).generate_state(3)
    n_held_out = max(recipe.n_identities // _HELD_OUT_SHARE, 1)
    sizes = (recipe.n_identities, n_held_out, n_held_out)
    return _Split(
        *(simulate(int(part_seed), size, backend=recipe.backend) for part_seed, size in zip(seeds, sizes, strict=True))
    )


def _train_network(recipe: Recipe, split: _Split, on_progress: Callable[[EpochReport], None]) -> DeepfakeNet:
    """Minimise the cross-entropy with AdamW on a one-cycle schedule."""
    features, labels = torch.from_numpy(split.train.features), torch.from_numpy(split.train.labels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        network = DeepfakeNet(recipe.backend)
        network.inputs.fit(features[labels == 0], *reference_tensors())
        optimizer = torch.optim.AdamW(network.parameters(), _LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
        steps = recipe.epochs * len(_batches(len(labels)))
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=steps)
        for epoch in range(1, recipe.epochs + 1):
            loss = _train_epoch(network, features, labels, optimizer, schedule)
            validation_auc = auc(split.validation.labels, compute_logits(network, split.validation.features))
            on_progress(EpochReport(epoch, recipe.epochs, loss, validation_auc))
    return network


def _train_epoch(
    network: DeepfakeNet,
    features: Tensor,
    labels: Tensor,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> float:
    """Pass once over all rows in random order; the mean loss."""
    network.train()
    total = 0.0
    for rows in _batches(len(labels)):
        loss = nn.functional.binary_cross_entropy_with_logits(network(features[rows]), labels[rows])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
        total += float(loss.detach()) * len(rows)
    return total / len(labels)


def _batches(n_rows: int) -> list[Tensor]:
    """Shuffle row numbers into batches; a last one too small for batch statistics joins its neighbour."""
    order = torch.randperm(n_rows)
    bounds = [*range(0, max(n_rows - _BATCH_ROWS // 2, 1), _BATCH_ROWS), n_rows]
    return [order[start:end] for start, end in itertools.pairwise(bounds)]
