"""One real cluster for all integration tests: ``serve run configs/prod.yaml`` on a Ray with a logical GPU."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import ray
import requests

from serve_app.addresses import free_port
from serve_app.demo import fetch_portrait, talking_head_frames
from serve_app.launcher import running_service
from serve_app.models.importing import ImportRequest, import_model
from serve_app.settings import PRETRAINED_DIR, LaunchSettings, cache_dir
from tests.exports import Scorer, export_onnx, export_pt2

CONFIGS = Path(__file__).parents[2] / "configs"
START_TIMEOUT_S = 240.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.integration)


@dataclass(frozen=True)
class RunningService:
    """The service over HTTP, what it logged, where it keeps sessions, and where its models come from."""

    url: str
    log: Path
    output_dir: Path
    models_dir: Path

    def post(self, *images: bytes, timeout_s: float = 120, **form: str) -> requests.Response:
        """Post images as frames."""
        files = [("files", (f"frame_{index:04d}.jpg", image)) for index, image in enumerate(images)]
        return requests.post(f"{self.url}/batch/predict", data=form, files=files, timeout=timeout_s)

    def get(self, path: str) -> requests.Response:
        """Get a path."""
        return requests.get(f"{self.url}{path}", timeout=30)


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """The production config on 4 logical CPUs and a logical GPU, with two imported models beside the shipped ones."""
    folder = tmp_path_factory.mktemp("service")
    models_dir = _models_with_imports(folder)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OUTPUT_DIR", str(folder / "output"))
        environment.setenv("MODELS_DIR", str(models_dir))
        ray.init(num_cpus=4, num_gpus=1, include_dashboard=False, log_to_driver=False)
        launch = LaunchSettings(host="127.0.0.1", port=free_port())
        try:
            with running_service(
                CONFIGS / "prod.yaml",
                launch,
                log=folder / "log",
                start_timeout_s=START_TIMEOUT_S,
                ray_address=ray.get_runtime_context().gcs_address,
            ) as url:
                yield RunningService(url, folder / "log", folder / "output", models_dir)
        finally:
            ray.shutdown()


@pytest.fixture(scope="session")
def frames() -> list[bytes]:
    """The demo's 30 frames of a talking head."""
    return talking_head_frames(fetch_portrait(cache_dir()))


def _models_with_imports(folder: Path) -> Path:
    """One module as ONNX and as .pt2, beside the shipped models."""
    models_dir = Path(shutil.copytree(PRETRAINED_DIR, folder / "models"))
    files = {
        "scorer-onnx": export_onnx(Scorer(), folder / "scorer.onnx"),
        "scorer-pt2": export_pt2(Scorer(), folder / "scorer.pt2"),
    }
    for name, file in files.items():
        import_model(ImportRequest(file, name, "facemesh", "logit", "Apache-2.0"), models_dir)
    return models_dir
