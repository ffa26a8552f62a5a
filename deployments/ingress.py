"""The Ingress deployment: the HTTP application, over the handles of the three stages."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ray import serve
from ray.exceptions import RayError
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp

from deployments.logs import log_through_serve
from deployments.remote import RemoteExtractor, RemoteParser, RemotePredictor
from serve_app.admission import Admission
from serve_app.errors import Overloaded
from serve_app.http.app import create_app
from serve_app.http.listener import Listening
from serve_app.http.service import ClusterStatus, Service
from serve_app.pipeline import Pipeline
from serve_app.remembered import Remembered
from serve_app.sessions import SessionStore
from serve_app.settings import IngressSettings

_MODELS_FRESH_S = 5.0  # a model loaded by a running predictor is seen after this long
_CLUSTER_FRESH_S = 1.0  # what probes are told; asking Serve costs 50 ms of CPU, so many probes ask once
_CLUSTER_TIMEOUT_S = 2.0  # within a probe's own
_ROUTED_TO = ("RUNNING", "PENDING_MIGRATION")  # the latter's node is being drained
_status_thread = ThreadPoolExecutor(1, thread_name_prefix="status")  # a silent controller holds this thread only
_CONTROLLER_RETRY_S = 5
_REPLICAS_FRESH_S = 15.0  # how many there are, and what they run: it changes as slowly as replicas start


class Ingress:
    """Fans a request's frames out, gathers their outcomes, and answers."""

    def __init__(
        self,
        settings: IngressSettings,
        extractor: DeploymentHandle[Any],
        parser: DeploymentHandle[Any],
        predictor: DeploymentHandle[Any],
    ) -> None:
        log_through_serve()
        remote_extractor = RemoteExtractor(
            extractor, Remembered(_cluster_status, fresh_s=_REPLICAS_FRESH_S, timeout_s=1)
        )
        remote_predictor = RemotePredictor(predictor)
        self._service = Service(
            settings=settings,
            pipeline=Pipeline(remote_extractor, RemoteParser(parser), remote_predictor, settings.pipeline),
            admission=Admission(
                max_requests=settings.max_requests,
                max_bytes=settings.max_admitted_bytes,
                retry_after_s=settings.retry_after_s,
            ),
            sessions=SessionStore(settings.output_dir),
            models=Remembered(remote_predictor.models, fresh_s=_MODELS_FRESH_S),
            backend=Remembered(remote_extractor.backend, fresh_s=_REPLICAS_FRESH_S),
            cluster=Remembered(_cluster_status, fresh_s=_CLUSTER_FRESH_S, timeout_s=_CLUSTER_TIMEOUT_S),
        )

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """Build the application in the replica; nothing of it is pickled."""
        listen = self._service.settings.listen
        app = create_app(self._service, behind_proxy=listen is None)
        return app if listen is None else Listening(app, listen)


async def _cluster_status() -> ClusterStatus:
    app_name = serve.get_replica_context().app_name
    try:
        status = await asyncio.get_running_loop().run_in_executor(_status_thread, serve.status)
    except RayError as exc:
        raise Overloaded("Serve's controller does not answer", retry_after_s=_CONTROLLER_RETRY_S) from exc
    deployments = status.applications[app_name].deployments
    if not deployments:  # what was deployed before serves on
        raise Overloaded("Serve tells of no deployment since a deploy that failed", retry_after_s=_CONTROLLER_RETRY_S)
    return ClusterStatus({name: _running(deployment.replica_states) for name, deployment in deployments.items()})


def _running(replica_states: Mapping[Any, int]) -> int:
    return sum(count for state, count in replica_states.items() if state in _ROUTED_TO)
