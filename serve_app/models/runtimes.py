"""Runtimes: what computes a model's logits from raw features, one for each kind of file."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors

from serve_app.errors import ArtifactInvalid, in_one_line
from serve_app.features.schema import FEATURE_COUNT
from serve_app.models.explanation import contributions
from serve_app.models.network import DeepfakeNet
from serve_app.models.novelty import Novelty, share_outside
from serve_app.models.onnx_graph import open_onnx
from serve_app.models.registry import Manifest, NoveltyLimits, Output
from serve_app.models.scoring import ScoringNet
from serve_app.models.torch_export import open_export

Rows = npt.NDArray[np.float32]
Logits = npt.NDArray[np.float32]

_PROBE_ROWS = (1, 3)  # a model that squeezes its output, or fixes its batch, fails one of them
_REASON_ROWS = 256  # at a time: each takes the memory of eight
_CERTAINTY = 1e-7  # probabilities are taken to be this far from 0 and 1: what a float32 next to 1 resolves


@dataclass(frozen=True, eq=False)
class Reading:
    """Logits ``(n,) float32``; ``novelty`` ``(n,)`` and ``contributions`` ``(n, 8)`` as in ``RowScores``, or None."""

    logits: Logits
    novelty: Rows | None = None
    contributions: Rows | None = None


class Runtime(Protocol):
    """A loaded model."""

    def read(self, rows: Rows, *, with_reasons: bool) -> Reading:
        """Compute the logits of raw features ``(n, 674) float32``, a positive one says fake; and what else it can."""
        ...


class NetworkRuntime:
    """The project's own network, in torch."""

    def __init__(self, network: DeepfakeNet, limits: NoveltyLimits | None, device: torch.device) -> None:
        self._network = ScoringNet(network).to(device)
        self._limits = limits
        self._device = device

    def read(self, rows: Rows, *, with_reasons: bool) -> Reading:
        """Compute the logits of raw features ``(n, 674) float32``, their novelty, and on demand their reasons."""
        with torch.inference_mode():
            features = torch.tensor(rows, dtype=torch.float32, device=self._device)
            points, measures = self._network.inputs(features)
            logits = self._network.classify(points, measures).cpu().numpy()
            reasons = self._reasons(points, measures) if with_reasons else None
            return Reading(logits, self._novelty(features, points, measures), reasons)

    def _reasons(self, points: torch.Tensor, measures: torch.Tensor) -> Rows:
        batches = zip(torch.split(points, _REASON_ROWS), torch.split(measures, _REASON_ROWS), strict=True)
        return torch.cat([contributions(self._network, *batch) for batch in batches]).cpu().numpy()

    def _novelty(self, features: torch.Tensor, points: torch.Tensor, measures: torch.Tensor) -> Rows | None:
        """The larger of the two that make a row new, in limits."""
        novelty, limits = self._network.novelty, self._limits
        if novelty is None or limits is None:
            return None
        distance, outside = novelty(points, measures) / limits.distance, share_outside(features) / limits.outside
        return torch.maximum(distance, outside).cpu().numpy()


class GraphRuntime:
    """A graph from elsewhere, whose every output is checked: nothing is known of it but its manifest."""

    def __init__(self, compute: Callable[[Rows], npt.NDArray[np.float32]], manifest: Manifest) -> None:
        self._compute = compute
        self._manifest = manifest
        for n_rows in _PROBE_ROWS:
            self._probe(n_rows)

    def read(self, rows: Rows, *, with_reasons: bool = False) -> Reading:
        """Compute the logits of raw features ``(n, 674) float32``; a graph has neither novelty nor reasons.

        Raises:
            ArtifactInvalid: the graph gave something else than its manifest says.
        """
        del with_reasons
        try:
            return Reading(to_logits(self._compute(rows), len(rows), self._manifest.output))
        except ValueError as exc:
            raise ArtifactInvalid(f"{self._manifest.label}: {exc}") from exc

    def _probe(self, n_rows: int) -> None:
        try:
            self.read(np.zeros((n_rows, FEATURE_COUNT), np.float32))
        except ArtifactInvalid:
            raise
        except Exception as exc:  # each runtime has its own classes; whatever it is, the graph cannot be used
            raise ArtifactInvalid(
                f"{self._manifest.label}: it fails on {n_rows} rows of zeros: {in_one_line(exc)}; "
                f"it must take (n, {FEATURE_COUNT}) float32 for every n"
            ) from exc


def load_runtime(manifest: Manifest, content: bytes, device: torch.device, *, cpu_threads: int) -> Runtime:
    """Load a model's file for a device; ``cpu_threads`` are what an ONNX graph may use.

    Raises:
        ArtifactInvalid: the file does not hold what the manifest says.
    """
    if manifest.architecture == "onnx":
        return GraphRuntime(open_onnx(content, manifest.label, device, cpu_threads=cpu_threads), manifest)
    if manifest.architecture == "torch-export":
        return GraphRuntime(open_export(content, manifest.label, device), manifest)
    return NetworkRuntime(load_network(manifest, content), manifest.novelty, device)


def load_network(manifest: Manifest, weights: bytes) -> DeepfakeNet:
    """Read the project's own network from safetensors.

    Raises:
        ArtifactInvalid: the weights are not this network's, or not all finite.
    """
    network = DeepfakeNet(manifest.backend)
    network.novelty = Novelty() if manifest.novelty else None
    try:
        tensors = load_safetensors(weights)
        network.load_state_dict(tensors)
    except (SafetensorError, RuntimeError) as exc:
        raise ArtifactInvalid(
            f"{manifest.label}: its weights do not fit the network: {in_one_line(exc)}; train it again"
        ) from exc
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise ArtifactInvalid(f"{manifest.label}: its weights are not all finite; train it again")
    return network


def to_logits(values: npt.NDArray[np.float32], n_rows: int, output: Output) -> Logits:
    """Turn what a graph gave into logits ``(n,) float32``.

    ``values`` are ``(n,)`` or ``(n, 1)`` of P(fake), or of its logit; or ``(n, 2)`` of real and fake.

    Raises:
        ValueError: the values are no floats, of another shape, not finite, or no probabilities though they should be.
    """
    if values.dtype.kind != "f":
        raise ValueError(f"it gave {values.dtype}: a label is no score; it must give floats")
    if values.shape not in ((n_rows,), (n_rows, 1), (n_rows, 2)):
        raise ValueError(f"it gave {values.shape} for {n_rows} rows: it must give (n,), (n, 1) or (n, 2)")
    if not np.isfinite(values).all():
        raise ValueError(f"it gave values that are not finite for {n_rows} rows")
    logits = values.reshape(n_rows, -1).astype(np.float64)
    if output == "probability":
        if logits.min() < -_CERTAINTY or logits.max() > 1 + _CERTAINTY:
            raise ValueError(
                f"it gave {logits.min():g} to {logits.max():g}: no probabilities; is its output the logit?"
            )
        logits = _logit(logits)
        logits = logits / logits.shape[1]  # of two that sum to 1, each has the whole logit
    return (logits[:, -1] - (logits[:, 0] if logits.shape[1] == 2 else 0.0)).astype(np.float32)


def _logit(probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    inside = np.clip(probabilities, _CERTAINTY, 1 - _CERTAINTY)
    return np.asarray(np.log(inside) - np.log1p(-inside))
