"""Checkpoints: where a training stood after an epoch, whole, in one safetensors file; pickles are never read."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_safetensors

from serve_app.errors import CheckpointUnusable
from serve_app.models.network import DeepfakeNet
from serve_app.models.writing import writing

_PROGRESS = "progress"
_NETWORK, _OPTIMIZER = "network.", "optimizer."


@dataclass(frozen=True)
class Learner:
    """What changes in the course of training."""

    network: DeepfakeNet
    optimizer: torch.optim.AdamW
    schedule: torch.optim.lr_scheduler.OneCycleLR


class _Progress(BaseModel):
    """What is no tensor; ``groups`` and ``schedule`` are torch's own state."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprint: str
    epoch: int
    groups: list[dict[str, object]]
    schedule: dict[str, object]


def save_checkpoint(path: Path, learner: Learner, epoch: int, fingerprint: str) -> None:
    """Replace the checkpoint at ``path``; ``fingerprint`` tells the training from others.

    Raises:
        OSError: the file cannot be written; the old one is as it was.
    """
    optimizer = learner.optimizer.state_dict()
    tensors = {f"{_NETWORK}{name}": tensor for name, tensor in learner.network.state_dict().items()}
    for index, moments in optimizer["state"].items():
        tensors |= {f"{_OPTIMIZER}{index}.{name}": tensor for name, tensor in moments.items()}
    progress = _Progress(
        fingerprint=fingerprint,
        epoch=epoch,
        groups=optimizer["param_groups"],
        schedule=learner.schedule.state_dict(),
    )
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as folder:
            staged = Path(folder) / path.name
            staged.write_bytes(save_safetensors(contiguous, {_PROGRESS: progress.model_dump_json()}))
            staged.replace(path)


def load_checkpoint(path: Path, learner: Learner, fingerprint: str) -> int:
    """Bring a fresh learner to where a checkpoint was saved; the number of epochs done.

    Raises:
        CheckpointUnusable: there is none, it is broken, or it is of a training with another fingerprint.
    """
    if not path.is_file():
        raise CheckpointUnusable(f"there is no checkpoint at {path}; start without --resume")
    try:
        with safe_open(path, framework="pt") as file:
            progress = _Progress.model_validate_json((file.metadata() or {}).get(_PROGRESS, ""))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, ValidationError) as exc:
        raise CheckpointUnusable(f"{path} is no whole checkpoint; delete it, and start without --resume") from exc
    if progress.fingerprint != fingerprint:
        raise CheckpointUnusable(
            f"{path} is of a training with other flags or other rows; give the flags it was started with, or start "
            "without --resume"
        )
    learner.network.load_state_dict(_within(tensors, _NETWORK))
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in _within(tensors, _OPTIMIZER).items():
        index, moment = name.split(".", 1)
        moments.setdefault(int(index), {})[moment] = tensor
    learner.optimizer.load_state_dict({"state": moments, "param_groups": progress.groups})
    learner.schedule.load_state_dict(progress.schedule)
    return progress.epoch


def _within(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
