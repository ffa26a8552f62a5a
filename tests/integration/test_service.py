"""The whole graph over HTTP: real frames, real features, a real model."""

import statistics
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import ray
import requests
from PIL import Image

from serve_app.client import BatchDeepfakeClient
from serve_app.extractors.facemesh.extractor import FaceMeshExtractor
from serve_app.features.table import read_face
from serve_app.models.detector import Detectors, resolve_device
from serve_app.models.registry import ModelRegistry
from serve_app.predictions import REASON_GROUPS
from serve_app.settings import DEFAULT_MODEL, PRETRAINED_DIR, ExtractorSettings
from tests.integration.conftest import RunningService

BLACK = Image.new("RGB", (320, 240))


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    file = BytesIO()
    image.save(file, kind)
    return file.getvalue()


def test_thirty_frames_of_a_face_are_scored(service: RunningService, frames: list[bytes]) -> None:
    """The main job: every frame ok, the real face not called fake."""
    answer = service.post(*frames).json()
    assert answer["status"] == "success"
    assert [frame["frame_id"] for frame in answer["predictions"]] == list(range(30))
    assert {frame["feature_count"] for frame in answer["predictions"]} == {674}
    assert answer["summary"]["verdict"] == "real"


def test_scores_over_http_are_those_of_the_model_offline(service: RunningService, frames: list[bytes]) -> None:
    """Extraction, CSV, transport and batching change nothing: to 1e-5, for 1 frame or 30."""
    extractor = FaceMeshExtractor(ExtractorSettings())
    detectors = Detectors(ModelRegistry(PRETRAINED_DIR), resolve_device("cpu"))
    rows = np.stack([read_face(extractor.extract(frame).csv, min_confidence=0.0).features for frame in frames])
    offline = detectors.find(DEFAULT_MODEL, "facemesh").scores(rows)
    together = [frame["prediction"]["score"] for frame in service.post(*frames).json()["predictions"]]
    alone = service.post(frames[7]).json()["predictions"][0]["prediction"]["score"]
    np.testing.assert_allclose(together, offline, atol=1e-5)
    assert alone == pytest.approx(offline[7], abs=1e-5)


def test_reasons_over_http_are_those_of_the_model_offline(service: RunningService, frames: list[bytes]) -> None:
    """And so is what is known of the frame's novelty."""
    csv = FaceMeshExtractor(ExtractorSettings()).extract(frames[0]).csv
    detector = Detectors(ModelRegistry(PRETRAINED_DIR), resolve_device("cpu")).find(DEFAULT_MODEL, "facemesh")
    offline = detector.judge(read_face(csv, min_confidence=0.0).features[None], with_reasons=True)
    [frame] = service.post(frames[0], include="reasons").json()["predictions"]
    assert offline.contributions is not None
    online = {reason["group"]: reason["contribution"] for reason in frame["reasons"]}
    np.testing.assert_allclose([online[group] for group in REASON_GROUPS], offline.contributions[0], atol=1e-4)
    assert frame["out_of_distribution"] == (None if offline.novelty is None else bool(offline.novelty[0] > 1))


def test_bad_frames_do_not_cost_the_good_ones(service: RunningService, frames: list[bytes]) -> None:
    """Empty, text, truncated, black, too large: each its status, 25 scored beside them."""
    large = encoded(Image.new("1", (10_000, 6_000)))
    bad = [b"", b"just text", frames[0][: len(frames[0]) // 2], encoded(BLACK), large]
    answer = service.post(*frames[:25], *bad).json()
    statuses = [frame["status"] for frame in answer["predictions"]]
    assert statuses == ["ok"] * 25 + ["undecodable"] * 3 + ["no_face", "undecodable"]
    assert answer["status"] == "partial"
    assert all(frame["error"] for frame in answer["predictions"][25:])


@pytest.mark.parametrize(
    ("n_frames", "form", "status"),
    [
        (0, {}, 400),
        (31, {}, 413),
        (1, {"session_id": "../../etc"}, 422),
        (1, {"model_name": "nope"}, 404),
        (1, {"unknown": "x"}, 422),
    ],
)
def test_a_refused_request_leaves_the_service_well(
    service: RunningService, frames: list[bytes], n_frames: int, form: dict[str, str], status: int
) -> None:
    """The documented status, and the next good request works."""
    refused = service.post(*[frames[0]] * n_frames, **form)  # type: ignore[arg-type]  # no form has a timeout_s
    assert refused.status_code == status
    assert refused.headers["content-type"] == "application/problem+json"
    assert service.post(frames[0]).json()["status"] == "success"


def test_a_rotated_photo_is_turned_and_said(service: RunningService, frames: list[bytes]) -> None:
    """EXIF decides, and the answer records it; the score is that of the upright picture, but for its encoding."""
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    file = BytesIO()
    with Image.open(BytesIO(frames[0])) as upright:
        upright.transpose(Image.Transpose.ROTATE_90).save(file, "PNG", exif=exif)
    [turned, plain] = service.post(file.getvalue(), frames[0]).json()["predictions"]
    assert (turned["status"], turned["orientation"], plain["orientation"]) == ("ok", 6, 1)
    assert turned["prediction"]["score"] == pytest.approx(plain["prediction"]["score"], abs=0.05)


def test_kept_csvs_are_openfaces_format(service: RunningService, frames: list[bytes]) -> None:
    """cleanup=false leaves one readable CSV a frame under OUTPUT_DIR/<session_id>."""
    answer = service.post(*frames[:2], session_id="kept", cleanup="false").json()
    folder = Path(answer["output_dir"])
    assert folder == service.output_dir / "kept"
    csvs = [path.read_bytes() for path in sorted(folder.iterdir())]
    assert [read_face(csv, min_confidence=0.7).features.shape for csv in csvs] == [(674,), (674,)]


def test_the_seeds_curl_command_works(service: RunningService, frames: list[bytes], tmp_path: Path) -> None:
    """Verbatim but for file names and the address."""
    for index in (1, 2, 3):
        (tmp_path / f"frame_00{index}.jpg").write_bytes(frames[index])
    command = ["curl", "-s", "-X", "POST", f"{service.url}/batch/predict"]
    for field in ("files=@frame_001.jpg", "files=@frame_002.jpg", "files=@frame_003.jpg", "session_id=video_123"):
        command += ["-F", field]
    command += ["-F", "model_name=mobilenetv2_celebv2", "-F", "cleanup=true"]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, timeout=60).stdout  # noqa: S603
    assert answer.startswith(b'{"status":"success","session_id":"video_123","frames_processed":3,"predictions":[{')
    assert answer.endswith(b'"cleanup":"Deleted 3 CSV files","output_dir":null}')


def test_frames_are_told_as_they_are_finished(service: RunningService, tmp_path: Path) -> None:
    """Through the proxy too: what is no picture is told at once, while a large one is still being looked at."""
    (tmp_path / "0.jpg").write_bytes(b"no picture")
    Image.new("RGB", (8000, 6000)).save(tmp_path / "1.png")
    with BatchDeepfakeClient(service.url) as client:
        began = time.monotonic()
        told = [(name, time.monotonic() - began) for name, _ in client.stream_batch(sorted(tmp_path.iterdir()))]
    assert [name for name, _ in told] == ["frame", "frame", "result"]
    assert told[0][1] < told[1][1] / 2


def test_health_models_and_docs_are_served(service: RunningService) -> None:
    """By the deployed application, with its real replicas."""
    health = service.get("/health").json()
    assert (health["status"], health["backend"], health["batch_size"]) == ("healthy", "facemesh", 30)
    assert set(health["replicas"]) == {"Ingress", "Extractor", "CsvParser", "Predictor"}
    assert service.get(f"/models/{DEFAULT_MODEL}").json()["card"].startswith("# ")
    assert service.get("/livez").headers["x-request-id"].count(",") == 0  # Serve's proxy adds one itself
    assert [service.get(path).status_code for path in ("/livez", "/readyz", "/docs", "/openapi.json")] == [200] * 4


def test_a_predictor_without_cuda_says_so_and_uses_the_cpu(service: RunningService, frames: list[bytes]) -> None:
    """Ray's GPU is a number here; with device: auto the CPU computes, and the log tells."""
    assert service.post(frames[0]).status_code == 200
    assert "no CUDA device" in service.log.read_text(errors="replace")


def test_requests_side_by_side_get_their_own_answers(service: RunningService, frames: list[bytes]) -> None:
    """Batching across requests mixes nothing up."""
    alone = [service.post(frame).json()["predictions"][0]["prediction"]["score"] for frame in frames[:8]]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(service.post, frames[:8]))
    together = [answer.json()["predictions"][0]["prediction"]["score"] for answer in answers]
    assert together == pytest.approx(alone, abs=1e-5)


def test_a_client_that_leaves_cancels_its_work(service: RunningService, frames: list[bytes]) -> None:
    """After a burst of abandoned requests, the next one waits for little more than the frames in hand."""
    usual_s = statistics.median(_seconds(service, frames) for _ in range(3))

    def leave(_: int) -> None:
        with pytest.raises(requests.ReadTimeout):
            service.post(*frames, timeout_s=0.05)

    with ThreadPoolExecutor(10) as threads:
        list(threads.map(leave, range(10)))
    assert _seconds(service, frames) < 5 * usual_s  # ten whole requests stood before it otherwise


def test_an_extractor_that_is_killed_costs_no_request(service: RunningService, frames: list[bytes]) -> None:
    """Its frames are tried again on another replica, or on the one that takes its place."""
    with ThreadPoolExecutor(4) as threads:
        requests_in_flight = [threads.submit(service.post, *frames) for _ in range(4)]
        _kill_one("Extractor")
        answers = [request.result() for request in requests_in_flight]
    assert [answer.json()["status"] for answer in answers] == ["success"] * 4


def _seconds(service: RunningService, frames: list[bytes]) -> float:
    started = time.monotonic()
    assert service.post(*frames).status_code == 200
    return time.monotonic() - started


def _kill_one(deployment: str) -> None:
    """Kill a replica as a lost node would, without a word to Serve."""
    named = ray.util.list_named_actors(all_namespaces=True)
    name = next(actor["name"] for actor in named if f"#{deployment}#" in actor["name"])
    ray.kill(ray.get_actor(name, namespace="serve"))
