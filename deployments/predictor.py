"""The Predictor deployment: features to scores, batched across requests; on a GPU where there is one."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deployments.logs import log_through_serve
from serve_app.batching import MicroBatcher
from serve_app.errors import RequestError
from serve_app.models.detector import Detector, Detectors, resolve_device
from serve_app.models.registry import Manifest, ModelRegistry, UncertainBand
from serve_app.predictions import ModelDescription, RowScores
from serve_app.settings import Backend, PredictorSettings, PredictorUserConfig

logger = logging.getLogger(__name__)

_MAX_EXPLAINED_ROWS = 64  # a quarter of a second on a core, for which rows without reasons wait

Key = tuple[str, Backend, bool]  # model, backend, with reasons
Rows = npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Loaded:
    """The models of the registry as they were found together."""

    detectors: Detectors
    descriptions: list[ModelDescription]


class Predictor:
    """All models of the registry, kept loaded."""

    def __init__(self, settings: PredictorSettings) -> None:
        log_through_serve()
        self._registry = ModelRegistry(settings.models_dir)
        self._device = resolve_device(settings.device)
        self._loaded = self._load()
        self._max_batch_rows = settings.max_batch_rows
        self._batcher = MicroBatcher[Key, RowScores](self._judge, RowScores.join, max_rows=self._max_rows)

    async def reconfigure(self, user_config: Mapping[str, object]) -> None:
        """Read the models folder again, while the models that are loaded serve on.

        Serve calls this when ``user_config`` changes. If it raised, Serve would stop this replica and start others that
        cannot start either; so whatever is wrong, with the folder, the config or the memory of the GPU, is logged, and
        everything stays as it was.
        """
        try:
            PredictorUserConfig.model_validate(user_config)
            self._loaded = await asyncio.to_thread(self._load, self._loaded.detectors)
        except Exception:  # the outermost edge: see above
            logger.exception("the models stay as they were, user_config %s was not taken up", user_config)
        else:
            logger.info(
                "user_config %s: serving %s",
                user_config,
                ", ".join(manifest.label for manifest in self._loaded.detectors.manifests()),
            )

    async def predict(
        self, model_name: str, backend: Backend, features: Rows, with_reasons: bool = False
    ) -> RowScores | RequestError:
        """Score ``(n, 674) float32`` rows. A refusal is returned, for it is expected."""
        try:
            return await self._batcher.submit((model_name, backend, with_reasons), features)
        except RequestError as error:
            return error

    async def models(self) -> list[ModelDescription]:
        """Describe the loaded models."""
        return self._loaded.descriptions

    def _load(self, earlier: Iterable[Detector] = ()) -> _Loaded:
        detectors = Detectors(self._registry, self._device, earlier=earlier)
        cards = [self._registry.load_card(manifest) for manifest in detectors.manifests()]
        return _Loaded(detectors, [_describe(*pair) for pair in zip(detectors.manifests(), cards, strict=True)])

    def _max_rows(self, key: Key) -> int:
        _, _, with_reasons = key
        return min(self._max_batch_rows, _MAX_EXPLAINED_ROWS) if with_reasons else self._max_batch_rows

    def _judge(self, key: Key, features: Rows) -> RowScores:
        model_name, backend, with_reasons = key
        return self._loaded.detectors.find(model_name, backend).judge(features, with_reasons=with_reasons)


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
