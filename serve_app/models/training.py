"""Training: the network learns to tell fakes from reals, epoch by epoch, and can go on where it was interrupted."""

import hashlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from serve_app.features.shape import REFERENCE_SHAPE, SHAPE_MODES
from serve_app.models.checkpoint import Learner, load_checkpoint, save_checkpoint
from serve_app.models.evaluation import auc
from serve_app.models.mixture import Mixture
from serve_app.models.network import DeepfakeNet
from serve_app.settings import Backend

_BATCH_ROWS = 256
_LEARNING_RATE = 3e-3
_WEIGHT_DECAY = 0.1


@dataclass(frozen=True)
class TrainingPlan:
    """How to fit: for whose features, from which seed, how many times over all rows."""

    backend: Backend
    seed: int
    epochs: int


@dataclass(frozen=True)
class EpochReport:
    """Where training stands: ``epoch`` from 1 of ``epochs``, mean loss in nats, AUC on the validation rows."""

    epoch: int
    epochs: int
    loss: float
    validation_auc: float


@dataclass(frozen=True)
class CheckpointFile:
    """Where to keep a checkpoint, and whether to go on from the one that is there."""

    path: Path
    is_resumed: bool = False


def train_network(
    plan: TrainingPlan,
    rows: Mixture,
    *,
    checkpoint: CheckpointFile | None = None,
    on_epoch: Callable[[EpochReport], None] = lambda report: None,
) -> DeepfakeNet:
    """Minimise the cross-entropy with AdamW on a one-cycle schedule.

    The same plan and rows give the same network on one machine, to the bit, interrupted or not: every epoch has a
    seed of its own.

    Raises:
        CheckpointUnusable: training is to go on from a checkpoint that is not there, or not of this training.
    """
    features, labels = torch.from_numpy(rows.train.features), torch.from_numpy(rows.train.labels)
    fingerprint = _fingerprint(plan, rows) if checkpoint else ""
    with torch.random.fork_rng(devices=[]):
        learner = _make_learner(plan, features[labels == 0], len(rows.drawn))
        done = load_checkpoint(checkpoint.path, learner, fingerprint) if checkpoint and checkpoint.is_resumed else 0
        for epoch in range(done + 1, plan.epochs + 1):
            _seed(plan, epoch)
            loss = _train_epoch(learner, features, labels, torch.from_numpy(rows.drawn))
            validation_auc = auc(rows.validation.labels, compute_logits(learner.network, rows.validation.features))
            if checkpoint:
                save_checkpoint(checkpoint.path, learner, epoch, fingerprint)
            on_epoch(EpochReport(epoch, plan.epochs, loss, validation_auc))
    return learner.network


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


def _make_learner(plan: TrainingPlan, real_features: Tensor, n_drawn: int) -> Learner:
    _seed(plan, 0)
    network = DeepfakeNet(plan.backend)
    network.inputs.fit(real_features, *reference_tensors())
    optimizer = torch.optim.AdamW(network.parameters(), _LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
    steps = plan.epochs * len(_batches(n_drawn))
    return Learner(
        network, optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=steps)
    )


def _train_epoch(learner: Learner, features: Tensor, labels: Tensor, drawn: Tensor) -> float:
    """Pass once over the drawn rows in random order; the mean loss."""
    learner.network.train()
    total = 0.0
    for batch in _batches(len(drawn)):
        rows = drawn[batch]
        loss = nn.functional.binary_cross_entropy_with_logits(learner.network(features[rows]), labels[rows])
        learner.optimizer.zero_grad()
        torch.autograd.backward(loss)
        learner.optimizer.step()
        learner.schedule.step()
        total += float(loss.detach()) * len(rows)
    return total / len(drawn)


def _batches(n_rows: int) -> list[Tensor]:
    """Shuffle row numbers into batches; a last one too small for batch statistics joins its neighbour."""
    order = torch.randperm(n_rows)
    bounds = [*range(0, max(n_rows - _BATCH_ROWS // 2, 1), _BATCH_ROWS), n_rows]
    return [order[start:end] for start, end in itertools.pairwise(bounds)]


def _seed(plan: TrainingPlan, epoch: int) -> None:
    torch.manual_seed(int(np.random.SeedSequence([plan.seed, epoch]).generate_state(1)[0]))


def _fingerprint(plan: TrainingPlan, rows: Mixture) -> str:
    """Tell a training from every other by its plan and its rows."""
    digest = hashlib.sha256(repr(plan).encode())
    for array in (rows.train.features, rows.train.labels, rows.drawn):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
