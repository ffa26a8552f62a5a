"""The other routes, and what every answer carries."""

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from serve_app import __version__
from serve_app.features.schema import FEATURE_COLUMNS
from serve_app.http.app import create_app
from serve_app.http.service import ClusterStatus, Service
from serve_app.predictions import ModelDescription
from serve_app.remembered import Remembered
from serve_app.settings import Backend, IngressSettings
from tests.unit import stages
from tests.unit.http.test_batch import files_of

STARTING = ClusterStatus({"Ingress": 1, "Extractor": 0, "Predictor": 1})


def test_health_has_the_seeds_fields_first(client: TestClient, settings: IngressSettings) -> None:
    """The seed's six, then what was added."""
    settings.openface_binary.touch(mode=0o755)
    health = client.get("/health").json()
    assert health == {
        "status": "healthy",
        "openface_binary": str(settings.openface_binary),
        "openface_available": True,
        "temp_dir": str(settings.temp_dir),
        "output_dir": str(settings.output_dir),
        "batch_size": 30,
        "backend": "facemesh",
        "models": ["mobilenetv2_celebv2"],
        "version": __version__,
        "replicas": {"Ingress": 1, "Extractor": 2, "CsvParser": 1, "Predictor": 1},
    }
    assert list(health)[:6] == [
        "status", "openface_binary", "openface_available", "temp_dir", "output_dir", "batch_size",
    ]  # fmt: skip


def test_openface_is_available_only_if_it_can_be_run(client: TestClient) -> None:
    """A binary that is not there is said so."""
    assert client.get("/health").json()["openface_available"] is False


def test_readyz_turns_200_when_every_deployment_runs(make_service: Callable[..., Service], client: TestClient) -> None:
    """503 names what is missing; livez does not care."""
    assert client.get("/readyz").json() == {"status": "ready"}
    with TestClient(create_app(make_service(cluster=STARTING))) as starting:
        assert starting.get("/readyz").status_code == 503
        assert "Extractor" in starting.get("/readyz").json()["detail"]
        assert starting.get("/livez").status_code == 200
        assert starting.get("/health").json()["status"] == "starting"


def test_models_are_listed_and_described(client: TestClient) -> None:
    """The list is short; one model has its card and its features in order."""
    [listed] = client.get("/models").json()["models"]
    assert (listed["name"], listed["version"], listed["backend"]) == ("mobilenetv2_celebv2", 3, "facemesh")
    model = client.get("/models/mobilenetv2_celebv2").json()
    assert (model["card"], model["features"]) == (stages.MODEL.card, list(FEATURE_COLUMNS))
    assert client.get("/models/none").json()["code"] == "unknown_model"


@pytest.fixture
def three_versions(make_service: Callable[..., Service]) -> Iterator[TestClient]:
    """Versions 1 and 3 for the face mesh, which runs, and 4 for OpenFace."""
    versions: list[tuple[int, Backend]] = [(1, "facemesh"), (3, "facemesh"), (4, "openface")]

    async def models() -> list[ModelDescription]:
        return [replace(stages.MODEL, version=version, backend=backend) for version, backend in versions]

    with TestClient(create_app(make_service(models=Remembered(models, fresh_s=math.inf)))) as client:
        yield client


@pytest.mark.parametrize(("name", "version"), [("", 3), ("@1", 1), ("@3", 3), ("@4", 4)])
def test_a_version_is_described_by_its_number(three_versions: TestClient, name: str, version: int) -> None:
    """The newest for the extractor that runs unless another is asked for, be it for another extractor."""
    assert three_versions.get(f"/models/mobilenetv2_celebv2{name}").json()["version"] == version


@pytest.mark.parametrize(("name", "version"), [("", 3), ("@1", 1)])
def test_a_request_is_scored_by_the_version_it_names(three_versions: TestClient, name: str, version: int) -> None:
    """And the answer says which it was."""
    form, files = {"model_name": f"mobilenetv2_celebv2{name}"}, files_of(stages.image(0.3))
    summary = three_versions.post("/batch/predict", data=form, files=files).json()["summary"]
    assert (summary["model_used"], summary["model_version"]) == ("mobilenetv2_celebv2", version)


@pytest.mark.parametrize(
    ("name", "code"), [("@2", "unknown_model"), ("@x", "unknown_model"), ("@4", "backend_mismatch")]
)
def test_a_version_that_cannot_score_here_is_refused(three_versions: TestClient, name: str, code: str) -> None:
    """Rather than replaced by another."""
    form, files = {"model_name": f"mobilenetv2_celebv2{name}"}, files_of(stages.image(0.3))
    assert three_versions.post("/batch/predict", data=form, files=files).json()["code"] == code


def test_an_extractor_of_another_backend_is_noticed(make_service: Callable[..., Service]) -> None:
    """A new replica chooses anew where its backend is `auto`; the old answer would refuse every request."""
    running: list[Backend] = ["openface"]

    async def backend() -> Backend:
        return running[-1]

    service = replace(make_service(), backend=Remembered(backend, fresh_s=0))
    with TestClient(create_app(service)) as client:
        assert client.post("/batch/predict", files=files_of(stages.image(0.3))).json()["code"] == "backend_mismatch"
        running.append("facemesh")
        answers = [client.post("/batch/predict", files=files_of(stages.image(0.3))) for _ in range(2)]
        assert answers[-1].status_code == 200
        assert client.get("/health").json()["backend"] == "facemesh"


def test_the_api_describes_itself(client: TestClient) -> None:
    """OpenAPI names every route, and the form's fields; /docs shows it."""
    openapi = client.get("/openapi.json").json()
    assert {"/batch/predict", "/models", "/models/{name}", "/health", "/livez", "/readyz"} <= openapi["paths"].keys()
    predict = openapi["paths"]["/batch/predict"]["post"]
    assert predict["responses"]["200"]["content"].keys() == {"application/json", "text/event-stream"}
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemBody"}}}
    for status in ("400", "404", "409", "413", "415", "422", "503", "504"):
        assert predict["responses"][status]["content"] == problem
    assert openapi["paths"]["/readyz"]["get"]["responses"]["503"]["content"] == problem
    form = predict["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert set(form["properties"]) == {"files", "session_id", "model_name", "cleanup", "threshold", "include"}
    assert {"200", "400", "413", "415", "422", "503", "504"} <= predict["responses"].keys()
    assert client.get("/docs").status_code == 200


@pytest.mark.parametrize(
    ("offered", "kept"), [("abc-1.2_3", True), ("two words", True), ("café", False), ("x" * 200, False)]
)
def test_a_request_id_is_taken_or_made(client: TestClient, offered: str, kept: bool) -> None:
    """Only what can stand in a log line is taken from the client."""
    echoed = client.get("/livez", headers={b"X-Request-ID": offered.encode()}).headers["x-request-id"]
    assert (echoed == offered) is kept
    assert echoed


def test_a_request_is_one_line_in_the_log(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """With its id, session, frames and time; probes are not logged."""
    caplog.set_level(logging.INFO, logger="serve_app.http.middleware")
    client.get("/livez")
    client.post("/batch/predict", data={"session_id": "s1"}, files=files_of(stages.NO_FACE))
    [line] = [record.getMessage() for record in caplog.records if record.name == "serve_app.http.middleware"]
    assert line.startswith("POST /batch/predict 200 request_id=")
    assert "session_id=s1 n_frames=1 elapsed_ms=" in line


def test_the_documented_answer_is_one_that_is_given(client: TestClient) -> None:
    """Field for field, in the same order, and its numbers agree with each other."""
    operation = client.get("/openapi.json").json()["paths"]["/batch/predict"]["post"]
    example = operation["responses"]["200"]["content"]["application/json"]["example"]
    files = files_of(stages.image(0.93), stages.NO_FACE)
    form = {"include": "reasons", "session_id": "video_123"}
    answer = client.post("/batch/predict", data=form, files=files).json()
    assert list(example) == list(answer)
    assert list(example["summary"]) == list(answer["summary"])
    assert [list(frame) for frame in example["predictions"]] == [list(frame) for frame in answer["predictions"]]
    assert example["summary"] == answer["summary"] | {"model_version": 1}
    assert example["predictions"][0]["prediction"] == answer["predictions"][0]["prediction"]


@pytest.mark.parametrize(("path", "status"), [("/livez", 200), ("/readyz", 200), ("/models", 200), ("/nothing", 404)])
def test_head_is_answered_as_get(client: TestClient, path: str, status: int) -> None:
    """Some probes ask so."""
    assert client.head(path).status_code == status


def test_no_path_makes_a_line_of_the_log(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """A client could make up requests that there never were."""
    caplog.set_level(logging.INFO, logger="serve_app.http.middleware")
    client.get("/x%0APOST%20/batch/predict%20200%20request_id=forged")
    [line] = [record.getMessage() for record in caplog.records if record.name == "serve_app.http.middleware"]
    assert line.startswith("GET /x%0APOST%20/batch/predict%20200%20request_id%3Dforged 404 ")
