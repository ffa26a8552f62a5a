"""Detectors: a registry's models, loaded on one device, that turn features into scores."""

import logging
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from serve_app.errors import ArtifactInvalid, BackendMismatch, DeviceUnavailable, UnknownModel
from serve_app.features.schema import FEATURE_COUNT
from serve_app.models.evaluation import sigmoid
from serve_app.models.registry import Manifest, ModelRegistry
from serve_app.models.runtimes import NetworkRuntime, Runtime, load_network
from serve_app.settings import Backend

logger = logging.getLogger(__name__)


def resolve_device(device: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """Choose what to compute on.

    Raises:
        DeviceUnavailable: CUDA was demanded and torch sees none.
    """
    if device == "cpu" or torch.cuda.is_available():
        return torch.device("cpu" if device == "cpu" else "cuda")
    if device == "cuda":
        raise DeviceUnavailable(
            f"device is cuda, but torch {torch.__version__} sees no CUDA device; "
            "install a CUDA build of torch and give the predictor a GPU, or set device to auto or cpu"
        )
    logger.warning("no CUDA device: the predictor computes on the CPU")
    return torch.device("cpu")


class Detector:
    """One model, ready to score."""

    def __init__(self, manifest: Manifest, runtime: Runtime) -> None:
        self.manifest = manifest
        self._runtime = runtime

    @classmethod
    def load(cls, registry: ModelRegistry, manifest: Manifest, device: torch.device) -> "Detector":
        """Load the model that a manifest of the registry describes.

        Raises:
            ArtifactInvalid: the model's folder does not hold what its manifest says.
        """
        network = load_network(registry.load_weights(manifest), manifest.backend, manifest.label)
        return cls(manifest, NetworkRuntime(network, device))

    def scores(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Score rows of ``(n, 674) float32`` raw features: calibrated P(fake), ``(n,) float32`` in 0..1.

        Raises:
            ValueError: the features have another shape, or are not all finite.
        """
        if features.ndim != 2 or features.shape[1] != FEATURE_COUNT:
            raise ValueError(f"features must be (n, {FEATURE_COUNT}), not {features.shape}")
        if not np.isfinite(features).all():
            raise ValueError("features must be finite")
        if not len(features):
            return np.empty(0, np.float32)
        logits = self._runtime.logits(features)
        calibration = self.manifest.calibration
        return (calibration.scores(logits) if calibration else sigmoid(logits)).astype(np.float32)


class Detectors:
    """All models of a registry, loaded once and kept: of each name, the newest version for each backend."""

    def __init__(self, registry: ModelRegistry, device: torch.device, *, cpu_threads: int = 1) -> None:
        torch.set_num_threads(cpu_threads)  # process-wide; more than the replica's CPUs would only contend
        newest = {(manifest.name, manifest.backend): manifest for manifest in registry.manifests()}
        self._detectors = {key: Detector.load(registry, manifest, device) for key, manifest in newest.items()}
        if not self._detectors:
            raise ArtifactInvalid(f"there is no model in {registry.models_dir}; make one with `deepfake-serve train`")

    def manifests(self) -> list[Manifest]:
        """Describe the loaded models, by name, then by version."""
        loaded = (detector.manifest for detector in self._detectors.values())
        return sorted(loaded, key=lambda manifest: (manifest.name, manifest.version))

    def predict(self, model_name: str, backend: Backend, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Score ``(n, 674) float32`` features that ``backend`` extracted: P(fake), ``(n,) float32`` in 0..1.

        Raises:
            UnknownModel: no model of that name is loaded.
            BackendMismatch: no version of it was trained on this backend's features.
        """
        detector = self._detectors.get((model_name, backend))
        if detector is None:
            raise self._refusal(model_name, backend)
        return detector.scores(features)

    def _refusal(self, model_name: str, backend: Backend) -> UnknownModel | BackendMismatch:
        trained_on = sorted(trained for name, trained in self._detectors if name == model_name)
        if trained_on:
            return BackendMismatch(
                f"model {model_name!r} was trained on features of {' and of '.join(trained_on)}, "
                f"but {backend} extracts here; choose another model or another config"
            )
        names = sorted({name for name, _ in self._detectors})
        return UnknownModel(f"no model {model_name!r}; this service has {', '.join(names)}")
