"""The HTTP application: every route on one screen."""

import os
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp

from serve_app import __version__
from serve_app.errors import RequestError
from serve_app.features.schema import FEATURE_COLUMNS
from serve_app.http import batch, examples
from serve_app.http.contract import BatchBody, HealthBody, ModelBody, ModelDetailBody, ModelsBody, ProblemBody
from serve_app.http.forms import PREDICT_FORM_SCHEMA
from serve_app.http.middleware import (
    BodyLimit,
    HeadAsGet,
    RequestContext,
    check_size,
    declared_bytes,
    facing_clients,
)
from serve_app.http.problems import answer_nobody, answer_problem
from serve_app.http.service import Service
from serve_app.settings import MAX_FRAMES

_PROBLEM: dict[str, Any] = {"model": ProblemBody}
_PREDICT_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {batch.EVENT_STREAM: {"schema": {"type": "string"}}}},
    **dict.fromkeys((400, 404, 409, 413, 415, 422, 503, 504), _PROBLEM),
}
_PREDICT_BODY = {"required": True, "content": {"multipart/form-data": {"schema": PREDICT_FORM_SCHEMA}}}


def create_app(service: Service, *, behind_proxy: bool = False) -> ASGIApp:
    """Build the application that serves ``service``, to clients or behind Ray Serve's proxy."""
    app = FastAPI(title="Deepfake detection", version=__version__, summary="Scores the frames of a video.")
    for error in (RequestError, HTTPException, Exception):
        app.add_exception_handler(error, answer_problem)
    app.add_exception_handler(ClientDisconnect, answer_nobody)
    app.include_router(_predict_routes(service))
    app.include_router(_model_routes(service))
    app.include_router(_health_routes(service))
    _complete_documentation(app)
    limited = HeadAsGet(BodyLimit(app, max_bytes=service.settings.max_body_bytes))
    if behind_proxy:
        return RequestContext(limited, echo_id=False)  # the proxy echoes it
    return RequestContext(facing_clients(limited), echo_id=True)


def _complete_documentation(app: FastAPI) -> None:
    """Put into the documentation what FastAPI would not: an example with nulls, and the type of a problem."""
    describe = app.openapi

    def describe_completely() -> dict[str, Any]:
        schema = describe()
        operations = [operation for path in schema["paths"].values() for operation in path.values()]
        for content in [answer.get("content", {}) for each in operations for answer in each["responses"].values()]:
            if content.get("application/json", {}).get("schema") == {"$ref": "#/components/schemas/ProblemBody"}:
                content["application/problem+json"] = content.pop("application/json")
        answers = schema["paths"]["/batch/predict"]["post"]["responses"]["200"]["content"]
        answers["application/json"]["example"] = examples.ANSWER.model_dump(mode="json", exclude_unset=True)
        return schema

    app.openapi = describe_completely  # type: ignore[method-assign]  # FastAPI's own way to extend its schema


def _predict_routes(service: Service) -> APIRouter:
    router = APIRouter(tags=["prediction"])

    async def admitted(request: Request) -> AsyncIterator[None]:
        """Hold a place until the last byte of the answer is sent."""
        max_bytes = service.settings.max_body_bytes
        n_bytes = declared_bytes(request.headers)
        check_size(n_bytes, max_bytes=max_bytes)  # first, for it will be too large however long the client waits
        with service.admission.admit(n_bytes) as request.state.place:
            yield

    @router.post(
        "/batch/predict",
        response_model=BatchBody,
        responses=_PREDICT_ANSWERS,
        openapi_extra={"requestBody": _PREDICT_BODY},
        dependencies=[Depends(admitted)],
    )
    async def predict_batch(request: Request) -> Response:
        """Score 1 to 30 frames. `Accept: text/event-stream` tells each frame as it is finished."""
        accepted = await batch.accept(service, request)
        if batch.prefers_events(request.headers.get("accept", "")):
            return batch.EventStream(batch.answer_events(service, accepted, request.state.request_id))
        body = await batch.answer(service, accepted)
        return Response(body.model_dump_json(exclude_unset=True), media_type="application/json")

    return router


def _model_routes(service: Service) -> APIRouter:
    router = APIRouter(tags=["models"])

    @router.get("/models")
    async def models() -> ModelsBody:
        """List the loaded models, every version; a request's `model_name` is `NAME`, the newest for the extractor
        that runs here, or `NAME@VERSION`.
        """
        return ModelsBody(models=[ModelBody.model_validate(model) for model in await service.models.get()])

    @router.get("/models/{name}", responses={404: _PROBLEM, 409: _PROBLEM})
    async def model(name: str) -> ModelDetailBody:
        """Describe a model, with its card: `NAME` or `NAME@VERSION`."""
        description = await service.known_model(name)
        summary = ModelBody.model_validate(description).model_dump()
        return ModelDetailBody(**summary, features=list(FEATURE_COLUMNS), card=description.card)

    return router


def _health_routes(service: Service) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/health")
    async def health() -> HealthBody:
        """Say what runs, and with what."""
        settings, cluster = service.settings, await service.cluster.get()
        return HealthBody(
            status="healthy" if cluster.ready else "starting",
            openface_binary=str(settings.openface_binary),
            openface_available=os.access(settings.openface_binary, os.X_OK),
            temp_dir=str(settings.temp_dir),
            output_dir=str(settings.output_dir),
            batch_size=MAX_FRAMES,
            backend=await service.backend.latest() if cluster.ready else None,
            models=sorted({model.name for model in await service.models.get()}) if cluster.ready else [],
            version=__version__,
            replicas=dict(cluster.replicas),
        )

    @router.get("/livez")
    async def livez() -> dict[str, str]:
        """Say that this process answers."""
        return {"status": "alive"}

    @router.get("/readyz", responses={503: _PROBLEM})
    async def readyz() -> dict[str, str]:
        """Say whether a request can be answered: every deployment has a running replica."""
        cluster = await service.cluster.get()
        if not cluster.ready:
            waiting = ", ".join(sorted(name for name, count in cluster.replicas.items() if not count))
            raise HTTPException(503, f"no running replica of: {waiting or 'any deployment'}")
        return {"status": "ready"}

    return router
