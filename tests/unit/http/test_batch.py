"""``POST /batch/predict``: the answer."""

import asyncio
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest
from requests import Request
from starlette.testclient import TestClient
from starlette.types import Message, Scope

from serve_app.http.app import create_app
from serve_app.http.service import Service
from serve_app.predictions import REASON_GROUPS, ModelDescription
from serve_app.remembered import Remembered
from serve_app.settings import IngressSettings
from tests.unit import stages
from tests.unit.in_time import run_within

SEED_ANSWER = (
    b'{"status":"success","session_id":"video_123","frames_processed":2,"predictions":['
    b'{"frame_id":0,"csv_source":"frame_0000.csv","feature_count":674,'
    b'"prediction":{"score":0.78,"label":"fake","confidence":0.56},"model":"mobilenetv2_celebv2",'
    b'"status":"ok","error":null,"orientation":1,"out_of_distribution":false},'
    b'{"frame_id":1,"csv_source":"frame_0001.csv","feature_count":674,'
    b'"prediction":{"score":0.45,"label":"real","confidence":0.1},"model":"mobilenetv2_celebv2",'
    b'"status":"ok","error":null,"orientation":1,"out_of_distribution":false}],'
    b'"summary":{"total_frames":2,"fake_count":1,"real_count":1,"average_score":0.615,'
    b'"model_used":"mobilenetv2_celebv2","scored_frames":2,"failed_frames":0,"threshold":0.5,'
    b'"verdict":"fake","score_std":0.165,"model_version":3,"out_of_distribution_count":0},'
    b'"cleanup":"Deleted 2 CSV files","output_dir":null}'
)


def files_of(*images: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    return [("files", (f"frame_{index:03d}.jpg", image)) for index, image in enumerate(images)]


def test_the_seeds_request_gets_the_seeds_answer_byte_for_byte(client: TestClient) -> None:
    """Fields, names, order and types are the seed's; what was added follows."""
    form = {"session_id": "video_123", "model_name": "mobilenetv2_celebv2", "cleanup": "true"}
    response = client.post("/batch/predict", data=form, files=files_of(stages.image(0.78), stages.image(0.45)))
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.content == SEED_ANSWER


def test_29_of_30_is_partial(client: TestClient) -> None:
    """The failed frame has its status and a null prediction; the summary counts the others only."""
    images = [stages.image(0.25)] * 29 + [stages.NO_FACE]
    answer = client.post("/batch/predict", files=files_of(*images)).json()
    assert answer["status"] == "partial"
    assert answer["frames_processed"] == 30
    failed = answer["predictions"][29]
    assert (failed["status"], failed["prediction"], failed["feature_count"]) == ("no_face", None, 0)
    assert "no face" in failed["error"]
    summary = answer["summary"]
    assert (summary["total_frames"], summary["scored_frames"], summary["failed_frames"]) == (30, 29, 1)
    assert summary["average_score"] == 0.25


def test_no_scored_frame_is_failed_and_not_applicable(client: TestClient) -> None:
    """Means are null, not zero, where there is nothing to average."""
    answer = client.post("/batch/predict", files=files_of(stages.NO_FACE, b"")).json()
    assert answer["status"] == "failed"
    assert answer["summary"]["verdict"] == "not_applicable"
    assert answer["summary"]["average_score"] is None
    assert [frame["status"] for frame in answer["predictions"]] == ["no_face", "undecodable"]


@pytest.mark.parametrize(("score", "verdict"), [(0.2, "real"), (0.5, "uncertain"), (0.9, "fake")])
def test_the_verdict_follows_the_mean_and_the_uncertain_band(client: TestClient, score: float, verdict: str) -> None:
    """Near the threshold the service does not decide."""
    answer = client.post("/batch/predict", files=files_of(stages.image(score))).json()
    assert answer["summary"]["verdict"] == verdict


def test_the_orientation_is_the_extractors(client: TestClient) -> None:
    """Which turned the picture; null where it gave nothing back."""
    images = (stages.image(0.3), stages.NO_FACE, stages.BREAKS_EXTRACTOR, b"")
    answer = client.post("/batch/predict", files=files_of(*images)).json()
    assert [frame["orientation"] for frame in answer["predictions"]] == [1, 1, None, None]


def test_the_band_moves_with_the_callers_threshold(client: TestClient) -> None:
    """Uncertain is what lies near the threshold that holds."""
    form = {"threshold": "0.1"}
    assert (
        client.post("/batch/predict", data=form, files=files_of(stages.image(0.5))).json()["summary"]["verdict"]
        == "fake"
    )


def test_the_callers_threshold_decides_the_label(client: TestClient) -> None:
    """threshold= overrides the model's, and is said."""
    answer = client.post("/batch/predict", data={"threshold": "0.8"}, files=files_of(stages.image(0.78))).json()
    assert answer["predictions"][0]["prediction"]["label"] == "real"
    assert answer["summary"]["threshold"] == 0.8


def test_a_score_at_the_threshold_is_real(client: TestClient) -> None:
    """Fake is strictly above."""
    answer = client.post("/batch/predict", files=files_of(stages.image(0.5))).json()
    assert answer["predictions"][0]["prediction"] == {"score": 0.5, "label": "real", "confidence": 0.0}


def test_include_adds_what_was_asked_for_only(client: TestClient) -> None:
    """Landmarks are 68 (x, y) pairs, features 674 numbers, pose a translation and a rotation."""
    answer = client.post(
        "/batch/predict", data={"include": "landmarks, features,pose"}, files=files_of(stages.image(0.1))
    ).json()
    frame = answer["predictions"][0]
    assert len(frame["landmarks"]) == 68
    assert frame["landmarks"][1] == [7.5, 8.5]
    assert len(frame["features"]) == 674
    assert frame["pose"] == {"translation_mm": [0, 0, 0], "rotation_rad": [0, 0, 0]}
    plain = client.post("/batch/predict", files=files_of(stages.image(0.1))).json()["predictions"][0]
    assert not {"landmarks", "features", "pose"} & plain.keys()


def test_a_face_the_model_does_not_know_is_flagged(client: TestClient) -> None:
    """Beside its prediction, which stays the seed's; most of them leave no verdict."""
    images = [stages.image(0.99, novelty=1.2), stages.image(0.99, novelty=3.0), stages.image(0.99), stages.NO_FACE]
    answer = client.post("/batch/predict", files=files_of(*images)).json()
    assert [frame["out_of_distribution"] for frame in answer["predictions"]] == [True, True, False, None]
    assert answer["predictions"][0]["prediction"].keys() == {"score", "label", "confidence"}
    assert (answer["summary"]["out_of_distribution_count"], answer["summary"]["verdict"]) == (2, "uncertain")


def test_a_model_that_cannot_tell_says_null(client: TestClient, predictor: stages.StagePredictor) -> None:
    """Rather than false."""
    predictor.knows_novelty = False
    answer = client.post("/batch/predict", files=files_of(stages.image(0.99))).json()
    assert answer["predictions"][0]["out_of_distribution"] is None
    assert answer["summary"]["out_of_distribution_count"] is None
    assert answer["summary"]["verdict"] == "fake"


def test_reasons_are_the_parts_of_the_face_largest_first(client: TestClient) -> None:
    """Asked for only: they cost many times the score."""
    images = files_of(stages.image(-0.5), stages.NO_FACE)
    explained, failed = client.post("/batch/predict", data={"include": "reasons"}, files=images).json()["predictions"]
    assert [reason["group"] for reason in explained["reasons"]] == list(reversed(REASON_GROUPS))
    assert explained["reasons"][0] == {"group": "head_pose", "contribution": -3.5}
    assert "reasons" not in failed
    assert "reasons" not in client.post("/batch/predict", files=images).json()["predictions"][0]


def test_a_session_id_is_made_when_none_is_given(client: TestClient) -> None:
    """Two requests without an id are two sessions."""
    ids = {client.post("/batch/predict", files=files_of(stages.NO_FACE)).json()["session_id"] for _ in range(2)}
    assert len(ids) == 2


def test_cleanup_false_keeps_the_csvs(client: TestClient, settings: IngressSettings) -> None:
    """They lie under OUTPUT_DIR/<session_id>, one for each frame that gave one."""
    form = {"session_id": "kept", "cleanup": "false"}
    answer = client.post("/batch/predict", data=form, files=files_of(stages.image(0.1), b"text")).json()
    folder = Path(answer["output_dir"])
    assert folder == settings.output_dir / "kept"
    assert [path.name for path in folder.iterdir()] == ["frame_0000.csv"]
    assert answer["cleanup"] == "Kept 1 CSV files"


def test_a_session_that_cannot_be_kept_fails_nothing(client: TestClient, settings: IngressSettings) -> None:
    """The answer says so, without a path."""
    settings.output_dir.write_text("a file where the folder should be")
    answer = client.post("/batch/predict", data={"cleanup": "false"}, files=files_of(stages.image(0.1))).json()
    assert answer["status"] == "success"
    assert answer["output_dir"] is None
    assert answer["cleanup"].startswith("Could not keep 1 CSV files")
    assert str(settings.output_dir) not in answer["cleanup"]


def test_a_folder_that_does_not_answer_fails_nothing(make_service: Callable[..., Service]) -> None:
    """The frames are scored by then; the request's deadline bounds the wait for a dead file server."""
    answers = Event()

    class DeadFolder:
        def keep(self, *_: object) -> None:
            answers.wait(10)

    with TestClient(create_app(make_service(sessions=DeadFolder()))) as client:
        answer = client.post("/batch/predict", data={"cleanup": "false"}, files=files_of(stages.image(0.5))).json()
        answers.set()
    assert (answer["status"], answer["output_dir"]) == ("success", None)
    assert answer["cleanup"].startswith("Could not keep 1 CSV files")


def test_events_tell_each_frame_and_then_the_answer(client: TestClient) -> None:
    """The last event is the answer that a plain request gets."""
    form, files = {"session_id": "s"}, files_of(stages.image(0.3), stages.NO_FACE)
    response = client.post("/batch/predict", data=form, files=files, headers={"Accept": "text/event-stream"})
    events = [event.split("\n") for event in response.text.strip().split("\n\n")]
    assert [event[0] for event in events] == ["event: frame", "event: frame", "event: result"]
    assert (
        json.loads(events[-1][1].removeprefix("data: ")) == client.post("/batch/predict", data=form, files=files).json()
    )


@pytest.mark.parametrize(
    ("accept", "is_stream"),
    [
        ("TEXT/EVENT-STREAM", True),
        ("text/event-stream, */*;q=0.1", True),
        ("application/json, text/event-stream", True),
        ("application/json;q=1, text/event-stream;q=0.1", False),
        ("text/event-stream;q=0.5, */*", False),
        ("text/event-stream;q=0", False),
        ("text/event-streams", False),
        ("*/*", False),
    ],
)
def test_events_are_sent_to_who_prefers_them(client: TestClient, accept: str, is_stream: bool) -> None:
    """As RFC 9110 weighs what is accepted; nobody gets them unasked."""
    response = client.post("/batch/predict", files=files_of(stages.image(0.5)), headers={"Accept": accept})
    assert response.headers["content-type"].startswith("text/event-stream") is is_stream


def test_events_end_with_a_problem_when_the_request_fails(client: TestClient) -> None:
    """The status is sent by then: the event carries what the body would have."""
    response = client.post(
        "/batch/predict", files=files_of(stages.HANGS), headers={"Accept": "text/event-stream", "X-Request-ID": "r1"}
    )
    name, body = response.text.strip().split("\n\n")[-1].split("\n")
    problem = json.loads(body.removeprefix("data: "))
    assert (name, problem["code"], problem["request_id"]) == ("event: problem", "deadline_exceeded", "r1")


def test_the_work_of_a_stream_ends_with_it(
    make_service: Callable[..., Service], extractor: stages.StageExtractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that takes no event has lost its place; its frames must not be worked on outside of one."""
    monkeypatch.setattr("serve_app.http.middleware._TAKE_S", 0.1)
    form = Request("POST", "http://here", files=files_of(b"no picture", stages.HANGS)).prepare()
    headers = {"content-type": form.headers["Content-Type"], "accept": "text/event-stream"}
    body: list[Message] = [{"type": "http.request", "body": form.body, "more_body": False}]

    async def receive() -> Message:
        if not body:
            await asyncio.Event().wait()
        return body.pop()

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    async def stall() -> None:
        scope: Scope = {"type": "http", "asgi": {"spec_version": "2.3"}, "method": "POST", "path": "/batch/predict"}
        scope["query_string"] = b""
        scope["headers"] = [(name.encode(), value.encode()) for name, value in headers.items()]
        await create_app(make_service())(scope, receive, send)
        assert extractor.cancelled == 1

    run_within(0.9, stall)  # before the request's own deadline of a second


@pytest.mark.parametrize(("threshold", "score"), [("0.3", 0.95), ("0.7", 0.05)])
def test_a_model_that_cannot_tell_decides_at_no_threshold(
    make_service: Callable[..., Service], threshold: str, score: float
) -> None:
    """Its band is all scores, wherever a caller puts the threshold."""

    async def models() -> list[ModelDescription]:
        return [replace(stages.MODEL, uncertain_band=(0.0, 1.0))]

    with TestClient(create_app(make_service(models=Remembered(models, fresh_s=math.inf)))) as client:
        form, files = {"threshold": threshold}, files_of(stages.image(score))
        assert client.post("/batch/predict", data=form, files=files).json()["summary"]["verdict"] == "uncertain"


def test_a_model_of_another_backend_is_refused_before_any_extraction(
    make_service: Callable[..., Service], extractor: stages.StageExtractor
) -> None:
    """Features of another extractor would give scores without meaning."""
    with TestClient(create_app(make_service(backend="openface"))) as client:
        response = client.post("/batch/predict", files=files_of(stages.image(0.1)))
    assert (response.status_code, response.json()["code"]) == (409, "backend_mismatch")
    assert extractor.calls == []


@pytest.mark.parametrize("name", ["日.jpg", "=?utf-8?B?5pelLmpwZw==?=", "=?utf-8?B?", "=?é?q?a?=.jpg"])
def test_a_files_name_may_be_encoded_as_net_does(client: TestClient, name: str) -> None:
    """HttpClient of .NET writes names that are not ASCII as a mail would."""
    status = client.post("/batch/predict", files=[("files", (name, stages.image(0.5)))]).status_code
    assert status == (200 if name.endswith((".jpg", "==?=")) else 415)
