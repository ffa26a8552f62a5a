"""Detectors: a registry's models, loaded on one device, that turn features into scores."""

import logging
from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from serve_app.errors import ArtifactInvalid, BackendMismatch, DeviceUnavailable, UnknownModel
from serve_app.features.schema import FEATURE_COUNT
from serve_app.model_names import parse_model_name
from serve_app.models.evaluation import sigmoid
from serve_app.models.registry import Manifest, ModelRegistry
from serve_app.models.runtimes import Runtime, load_runtime
from serve_app.predictions import RowScores
from serve_app.settings import Backend

logger = logging.getLogger(__name__)

_CPU_ROWS = 256  # at a time: of 4096 at once a core scores a fifth as many a second, for they leave its cache
_GPU_ROWS = 16_384


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

    def __init__(self, manifest: Manifest, runtime: Runtime, *, rows_at_once: int = _CPU_ROWS) -> None:
        self.manifest = manifest
        self._runtime = runtime
        self._rows_at_once = rows_at_once

    @classmethod
    def load(
        cls, registry: ModelRegistry, manifest: Manifest, device: torch.device, *, cpu_threads: int = 1
    ) -> "Detector":
        """Load the model that a manifest of the registry describes.

        Raises:
            ArtifactInvalid: the model's folder does not hold what its manifest says.
        """
        content = registry.load_weights(manifest)
        runtime = load_runtime(manifest, content, device, cpu_threads=cpu_threads)
        return cls(manifest, runtime, rows_at_once=_CPU_ROWS if device.type == "cpu" else _GPU_ROWS)

    def scores(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Score rows of ``(n, 674) float32`` raw features: calibrated P(fake), ``(n,) float32`` in 0..1.

        Raises what ``judge`` does.
        """
        return self.judge(features).scores

    def judge(self, features: npt.NDArray[np.float32], *, with_reasons: bool = False) -> RowScores:
        """Score rows of ``(n, 674) float32`` raw features, and say how new they are; explain them ``with_reasons``.

        Raises:
            ValueError: the features have another shape, or are not all finite.
        """
        if features.ndim != 2 or features.shape[1] != FEATURE_COUNT:
            raise ValueError(f"features must be (n, {FEATURE_COUNT}), not {features.shape}")
        if not np.isfinite(features).all():
            raise ValueError("features must be finite")
        if not len(features):
            return RowScores(np.empty(0, np.float32))
        starts = range(0, len(features), self._rows_at_once)
        parts = (features[start : start + self._rows_at_once] for start in starts)
        return RowScores.join([self._judge(part, with_reasons=with_reasons) for part in parts])

    def _judge(self, features: npt.NDArray[np.float32], *, with_reasons: bool) -> RowScores:
        reading = self._runtime.read(features, with_reasons=with_reasons)
        calibration = self.manifest.calibration
        scores = calibration.scores(reading.logits) if calibration else sigmoid(reading.logits)
        return RowScores(scores.astype(np.float32), reading.novelty, reading.contributions)


class Detectors:
    """All models of a registry, every version of each, loaded once and kept."""

    def __init__(
        self,
        registry: ModelRegistry,
        device: torch.device,
        *,
        cpu_threads: int = 1,
        earlier: Iterable[Detector] = (),
    ) -> None:
        """Load what is not among the ``earlier`` detectors of the same registry; every file's hash is checked anew.

        Raises:
            ArtifactInvalid: there is no model, or one of them does not hold what its manifest says.
        """
        torch.set_num_threads(cpu_threads)  # process-wide; more than the replica's CPUs would only contend
        loaded = {detector.manifest.label: detector for detector in earlier}
        self._detectors: list[Detector] = []  # by name, oldest version first
        for manifest in registry.manifests():
            kept = loaded.get(manifest.label)
            if kept and kept.manifest == manifest:
                registry.load_weights(manifest)
                self._detectors.append(kept)
            else:
                self._detectors.append(Detector.load(registry, manifest, device, cpu_threads=cpu_threads))
        if not self._detectors:
            raise ArtifactInvalid(f"there is no model in {registry.models_dir}; make one with `deepfake-serve train`")

    def __iter__(self) -> Iterator[Detector]:
        """Go through the detectors by name, oldest version first."""
        return iter(self._detectors)

    def manifests(self) -> list[Manifest]:
        """Describe the loaded models, by name, then by version."""
        return [detector.manifest for detector in self._detectors]

    def find(self, model_name: str, backend: Backend) -> Detector:
        """Find the model for features that ``backend`` extracted.

        ``model_name`` is ``NAME``, whose newest version for the backend is taken, or ``NAME@VERSION``.

        Raises:
            UnknownModel: no such model is loaded.
            BackendMismatch: it was not trained on this backend's features.
        """
        wanted = parse_model_name(model_name)
        named = [entry for entry in self._detectors if wanted.means(entry.manifest.name, entry.manifest.version)]
        fitting = [detector for detector in named if detector.manifest.backend == backend]
        if fitting:
            return fitting[-1]
        if named:
            trained_on = sorted({detector.manifest.backend for detector in named})
            raise BackendMismatch(
                f"model {model_name!r} was trained on features of {' and of '.join(trained_on)}, "
                f"but {backend} extracts here; choose another model or another config"
            )
        names = sorted({detector.manifest.name for detector in self._detectors})
        raise UnknownModel(f"no model {model_name!r}; this service has {', '.join(names)}")
