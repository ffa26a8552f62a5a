"""The HTTP application over in-memory stages."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from serve_app.admission import Admission
from serve_app.http.app import create_app
from serve_app.http.service import ClusterStatus, Service
from serve_app.pipeline import Pipeline
from serve_app.predictions import ModelDescription
from serve_app.remembered import Remembered
from serve_app.sessions import SessionStore
from serve_app.settings import Backend, IngressSettings, PipelineSettings
from tests.unit import stages

READY = ClusterStatus({"Ingress": 1, "Extractor": 2, "CsvParser": 1, "Predictor": 1})


@pytest.fixture
def settings(tmp_path: Path) -> IngressSettings:
    return IngressSettings(
        pipeline=PipelineSettings(deadline_s=1.0),
        max_file_bytes=1000,
        max_body_bytes=40_000,
        max_requests=2,
        output_dir=tmp_path / "output",
        temp_dir=tmp_path / "temp",
        openface_binary=tmp_path / "FeatureExtraction",
    )


@pytest.fixture
def extractor() -> stages.StageExtractor:
    return stages.StageExtractor()


@pytest.fixture
def predictor() -> stages.StagePredictor:
    return stages.StagePredictor()


@pytest.fixture
def make_service(
    settings: IngressSettings, extractor: stages.StageExtractor, predictor: stages.StagePredictor
) -> Callable[..., Service]:
    """Build a service of in-memory stages, any part of it replaced."""
    return partial(build_service, settings, extractor, predictor)


def build_service(
    settings: IngressSettings,
    extractor: stages.StageExtractor,
    predictor: stages.StagePredictor,
    *,
    cluster: ClusterStatus = READY,
    backend: Backend = "facemesh",
    **parts: object,
) -> Service:
    """Build a service of these stages, ``parts`` in place of its own."""

    async def models() -> list[ModelDescription]:
        return [stages.MODEL]

    async def cluster_status() -> ClusterStatus:
        return cluster

    async def running_backend() -> Backend:
        return backend

    defaults: dict[str, object] = {
        "settings": settings,
        "pipeline": Pipeline(extractor, stages.StageParser(), predictor, settings.pipeline),
        "admission": Admission(max_requests=settings.max_requests, max_bytes=2**20, retry_after_s=7),
        "sessions": SessionStore(settings.output_dir),
        "models": Remembered(models, fresh_s=math.inf),
        "backend": Remembered(running_backend, fresh_s=math.inf),
        "cluster": Remembered(cluster_status, fresh_s=0),
    }
    return Service(**(defaults | parts))  # type: ignore[arg-type]  # parts are named by the tests


@pytest.fixture
def client(make_service: Callable[..., Service]) -> Iterator[TestClient]:
    with TestClient(create_app(make_service()), raise_server_exceptions=False) as client:
        yield client
