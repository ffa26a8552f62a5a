"""The Predictor deployment: features to scores, batched across requests; on a GPU where there is one."""

import numpy as np
import numpy.typing as npt

from deployments.logs import log_through_serve
from serve_app.batching import MicroBatcher
from serve_app.errors import RequestError
from serve_app.models.detector import Detectors, resolve_device
from serve_app.models.registry import Manifest, ModelRegistry, UncertainBand
from serve_app.predictions import ModelDescription
from serve_app.settings import Backend, PredictorSettings

Key = tuple[str, Backend]
Rows = npt.NDArray[np.float32]


class Predictor:
    """All models of the registry, kept loaded."""

    def __init__(self, settings: PredictorSettings) -> None:
        log_through_serve()
        self._registry = ModelRegistry(settings.models_dir)
        self._detectors = Detectors(self._registry, resolve_device(settings.device))
        self._batcher = MicroBatcher[Key](self._scores, max_rows=settings.max_batch_rows)

    async def predict(self, model_name: str, backend: Backend, features: Rows) -> Rows | RequestError:
        """Score ``(n, 674) float32`` rows: ``(n,) float32``. A refusal is returned, for it is expected."""
        try:
            return await self._batcher.submit((model_name, backend), features)
        except RequestError as error:
            return error

    async def models(self) -> list[ModelDescription]:
        """Describe the loaded models."""
        return [_describe(manifest, self._registry.load_card(manifest)) for manifest in self._detectors.manifests()]

    def _scores(self, key: Key, features: Rows) -> Rows:
        model_name, backend = key
        return self._detectors.predict(model_name, backend, features)


def _describe(manifest: Manifest, card: str) -> ModelDescription:
    band = manifest.uncertain_band or UncertainBand(low=manifest.threshold, high=manifest.threshold)
    return ModelDescription(
        name=manifest.name,
        version=manifest.version,
        architecture=manifest.architecture,
        backend=manifest.backend,
        feature_count=manifest.features.count,
        threshold=manifest.threshold,
        uncertain_band=(band.low, band.high),
        calibration=manifest.calibration.method if manifest.calibration else "none",
        metrics=manifest.metrics,
        license=manifest.license,
        sha256=manifest.weights_sha256,
        card=card,
    )
