"""Models in the running service: imported ones, the path of a row, a folder that changes."""

import asyncio
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
import yaml
from ray import serve
from ray.serve.context import _get_global_client
from ray.serve.schema import ServeDeploySchema

from deployments.remote import RemoteParser, RemotePredictor
from serve_app.features.table import FaceFeatures, write_features
from serve_app.launcher import render_config
from serve_app.models.detector import Detectors, resolve_device
from serve_app.models.registry import ModelRegistry
from serve_app.models.simulation import simulate
from serve_app.settings import DEFAULT_MODEL, PRETRAINED_DIR, LaunchSettings
from tests.exports import Scorer
from tests.integration.conftest import CONFIGS, RunningService

APP = "deepfake"
RELOAD_TIMEOUT_S = 60.0
REMEMBERED_S = 5.5  # each of the two ingresses asks again what models there are after 5 s


@pytest.mark.parametrize("name", ["scorer-onnx", "scorer-pt2"])
def test_an_imported_model_scores_as_torch_does(service: RunningService, frames: list[bytes], name: str) -> None:
    """The very rows that were scored, put through the module that was exported: to 1e-5."""
    answer = service.post(*frames[:6], model_name=name, include="features")
    assert answer.status_code == 200, answer.text
    predictions = answer.json()["predictions"]
    rows = torch.tensor([frame["features"] for frame in predictions], dtype=torch.float32)
    with torch.inference_mode():
        expected = torch.sigmoid(Scorer()(rows)).squeeze(1).numpy()
    np.testing.assert_allclose([frame["prediction"]["score"] for frame in predictions], expected, atol=1e-5)


@pytest.mark.parametrize("n_rows", [1, 64])
def test_rows_are_scored_as_offline(service: RunningService, n_rows: int) -> None:
    """Fakes and reals as CSV through the deployed parser and predictor, against the model on the rows themselves."""
    rows = simulate(77, 16).features[:n_rows]
    offline = (
        Detectors(ModelRegistry(PRETRAINED_DIR), resolve_device("cpu")).find(DEFAULT_MODEL, "facemesh").scores(rows)
    )
    np.testing.assert_allclose(asyncio.run(_scores_of_deployments(rows)), offline, atol=1e-5)


async def _scores_of_deployments(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    parser, predictor = (serve.get_deployment_handle(name, APP) for name in ("CsvParser", "Predictor"))
    csvs = [write_features(row.astype(np.float64), confidence=0.98) for row in rows]
    faces = await RemoteParser(parser).parse(csvs)
    features = np.stack([face.features for face in faces if isinstance(face, FaceFeatures)])
    return (await RemotePredictor(predictor).predict(DEFAULT_MODEL, "facemesh", features, with_reasons=False)).scores


def test_models_come_and_stay_without_a_restart(service: RunningService, frames: list[bytes]) -> None:
    """A new version serves once its revision is deployed, the old one by its number; a broken one changes nothing."""
    new = Path(shutil.copytree(service.models_dir / "scorer-onnx" / "1", service.models_dir / "scorer-onnx" / "2"))
    manifest = (new / "manifest.json").read_text()
    (new / "manifest.json").write_text(manifest.replace('"version": 1', '"version": 2').replace("0.5", "0.25"))
    with Requests(service, frames[0]) as requests_meanwhile:
        _deploy(service, revision=1)
        _await(lambda: service.get("/models/scorer-onnx").json()["version"] == 2)
        (new / "model.onnx").write_bytes(b"broken")
        _deploy(service, revision=2)
        _await(lambda: "the models stay as they were" in service.log.read_text(errors="replace"))
    assert set(requests_meanwhile.statuses) == {200}
    time.sleep(REMEMBERED_S)
    versions = [
        service.post(frames[0], model_name=name).json()["summary"]["model_version"]
        for name in ("scorer-onnx", "scorer-onnx@1", "scorer-onnx@2")
    ]
    assert versions == [2, 1, 2]


@dataclass
class Requests:
    """One request after another, by another thread, for as long as the context lasts."""

    service: RunningService
    frame: bytes
    statuses: list[int] = field(default_factory=list)

    def __enter__(self) -> "Requests":
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._post)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _post(self) -> None:
        while not self._ended.is_set():
            self.statuses.append(self.service.post(self.frame).status_code)


def _deploy(service: RunningService, *, revision: int) -> None:
    """Deploy the running config with another user_config, as ``serve deploy`` does through the dashboard."""
    launch = LaunchSettings(host="127.0.0.1", port=int(service.url.rpartition(":")[2]))
    config = yaml.safe_load(render_config(CONFIGS / "prod.yaml", launch))
    [predictor] = [entry for entry in config["applications"][0]["deployments"] if entry["name"] == "Predictor"]
    predictor["user_config"] = {"revision": revision}
    client = _get_global_client()
    assert client is not None
    client.deploy_apps(ServeDeploySchema.model_validate(config))


def _await(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + RELOAD_TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "not within the deadline"
        time.sleep(0.2)
