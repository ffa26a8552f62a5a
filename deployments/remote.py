"""Deployment handles as the Protocols of ``serve_app``: calls cancelled, dead replicas named, refusals raised again."""

import asyncio
import logging
from typing import Any

import numpy as np
import numpy.typing as npt
from grpc.aio import AioRpcError
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RequestCancelledError
from ray.serve.handle import DeploymentHandle

from serve_app.errors import FrameError, Overloaded, ReplicaLost, ServiceError
from serve_app.features.table import FaceFeatures
from serve_app.http.service import ClusterStatus
from serve_app.pipeline import Extraction
from serve_app.predictions import ModelDescription, RowScores
from serve_app.remembered import Remembered
from serve_app.settings import Backend

logger = logging.getLogger(__name__)

_RETRY_AFTER_S = 5  # a replica starts in 5 to 15 s
_RETRIES = 2


async def call(method: Any, *args: object) -> Any:  # Any: Serve's handles are untyped
    """Call one replica; what it returned as a refusal is raised, and a caller that leaves cancels the call.

    Raises:
        ReplicaLost: the replica died with the call in hand.
        Overloaded: no replica has room, or there is none.
    """
    response = method.remote(*args)
    try:
        answer = await response
    except (asyncio.CancelledError, RequestCancelledError) as exc:
        response.cancel()  # awaiting alone leaves the remote side running
        if _is_being_cancelled():
            raise asyncio.CancelledError from exc
        raise ReplicaLost("a replica gave up this request", retry_after_s=_RETRY_AFTER_S) from exc
    except (RayActorError, AioRpcError) as exc:
        raise ReplicaLost("a replica died while it worked on this request", retry_after_s=_RETRY_AFTER_S) from exc
    except (BackPressureError, DeploymentUnavailableError) as exc:
        raise Overloaded("no replica has room for this request", retry_after_s=_RETRY_AFTER_S) from exc
    if isinstance(answer, ServiceError):
        raise answer
    return answer


def _is_being_cancelled() -> bool:
    """Whether the caller leaves; else it is the replica that ended, and a TaskGroup would not even notice."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def call_again(method: Any, *args: object) -> Any:  # Any: as above
    """Call, and try another replica when one dies: for work that does no harm twice and is no one's poison."""
    for _ in range(_RETRIES):
        try:
            return await call(method, *args)
        except ReplicaLost:
            continue
    return await call(method, *args)


class RemoteExtractor:
    """The Extractor deployment; not retried here, for a frame may be what kills it: the pipeline isolates frames."""

    def __init__(self, handle: DeploymentHandle[Any], cluster: Remembered[ClusterStatus]) -> None:
        self._handle = handle
        self._cluster = cluster

    async def replicas(self) -> int:
        """Count those last known to run: a request neither waits nor fails for want of a hint."""
        try:
            return (await self._cluster.latest()).replicas.get(self._handle.deployment_name, 0)
        except Overloaded as exc:
            logger.warning("the fan-out does not know how many extractors there are: %s", exc)
            return 1

    async def extract(self, images: list[bytes]) -> Extraction:
        """Extract each image on one replica."""
        extraction: Extraction = await call(self._handle.extract, images)
        return extraction

    async def backend(self) -> Backend:
        """Name what computes the features."""
        backend: Backend = await call_again(self._handle.backend)
        return backend


class RemoteParser:
    """The CsvParser deployment."""

    def __init__(self, handle: DeploymentHandle[Any]) -> None:
        self._handle = handle

    async def parse(self, csvs: list[bytes]) -> list[FaceFeatures | FrameError]:
        """Parse each CSV on one replica."""
        faces: list[FaceFeatures | FrameError] = await call_again(self._handle.parse, csvs)
        return faces


class RemotePredictor:
    """The Predictor deployment."""

    def __init__(self, handle: DeploymentHandle[Any]) -> None:
        self._handle = handle

    async def predict(
        self, model_name: str, backend: Backend, features: npt.NDArray[np.float32], with_reasons: bool
    ) -> RowScores:
        """Score the rows on one replica."""
        scores: RowScores = await call_again(self._handle.predict, model_name, backend, features, with_reasons)
        return scores

    async def models(self) -> list[ModelDescription]:
        """Describe the loaded models."""
        models: list[ModelDescription] = await call_again(self._handle.models)
        return models
