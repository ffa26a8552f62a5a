"""Runtimes: what computes a model's logits from raw features, one for each kind of file."""

from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors

from serve_app.errors import ArtifactInvalid
from serve_app.models.network import DeepfakeNet
from serve_app.settings import Backend

Rows = npt.NDArray[np.float32]
Logits = npt.NDArray[np.float32]


class Runtime(Protocol):
    """A loaded model."""

    def logits(self, rows: Rows) -> Logits:
        """Compute the logits ``(n,) float32`` of raw features ``(n, 674) float32``; a positive one says fake."""
        ...


class NetworkRuntime:
    """The project's own network, in torch."""

    def __init__(self, network: DeepfakeNet, device: torch.device) -> None:
        self.network = network.eval().to(device)
        self.device = device

    def logits(self, rows: Rows) -> Logits:
        """Compute the logits ``(n,) float32`` of raw features ``(n, 674) float32``."""
        with torch.inference_mode():
            logits: torch.Tensor = self.network(torch.tensor(rows, dtype=torch.float32, device=self.device))
        return logits.cpu().numpy()


def load_network(weights: bytes, backend: Backend, label: str) -> DeepfakeNet:
    """Read the project's own network from safetensors; ``label`` names the model in errors.

    Raises:
        ArtifactInvalid: the weights are not this network's, or not all finite.
    """
    network = DeepfakeNet(backend)
    try:
        tensors = load_safetensors(weights)
        network.load_state_dict(tensors)
    except (SafetensorError, RuntimeError) as exc:
        reason = str(exc).splitlines()[0]
        raise ArtifactInvalid(f"{label}: its weights do not fit the network: {reason}; train it again") from exc
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise ArtifactInvalid(f"{label}: its weights are not all finite; train it again")
    return network
