"""Requests that are refused whole, as problem+json."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from httpx2 import Response
from requests import Request
from starlette.testclient import TestClient
from starlette.types import Message

from serve_app.admission import Admission
from serve_app.http.app import create_app
from serve_app.http.service import Service
from serve_app.remembered import Remembered
from tests.unit import stages
from tests.unit.http.test_batch import files_of

ONE = files_of(stages.image(0.5))
FORM = (
    b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n' + stages.image(0.5) + b"\r\n"
    b'--b\r\nContent-Disposition: form-data; name="threshold"\r\n\r\n0.9\r\n--b--'
)


@pytest.mark.parametrize(
    ("form", "files", "status", "code"),
    [
        ({"session_id": "s"}, None, 400, "no_files"),
        ({}, files_of(*[stages.image(0.5)] * 31), 413, "too_many_frames"),
        ({}, [("files", (f"{i}.jpg", b"x")) for i in range(101)], 413, "too_many_frames"),
        ({}, [("files", ("clip.gif", stages.image(0.5)))], 415, "unsupported_file_type"),
        ({}, [("files", ("noextension", stages.image(0.5)))], 415, "unsupported_file_type"),
        ({}, files_of(b"\xff\xd8\xff" + b"x" * 1000), 413, "payload_too_large"),
        ({"session_id": "../../etc"}, ONE, 422, "invalid_field"),
        ({"session_id": "a/b"}, ONE, 422, "invalid_field"),
        ({"session_id": "line\n"}, ONE, 422, "invalid_field"),
        ({"session_id": "x" * 65}, ONE, 422, "invalid_field"),
        ({"session_id": ""}, ONE, 422, "invalid_field"),
        ({"model_name": "nope"}, ONE, 404, "unknown_model"),
        ({"model_name": "../mobilenetv2_celebv2"}, ONE, 404, "unknown_model"),
        ({"model_name": "x" * 200}, ONE, 422, "invalid_field"),
        ({"cleanup": "maybe"}, ONE, 422, "invalid_field"),
        ({"threshold": "nan"}, ONE, 422, "invalid_field"),
        ({"threshold": "1.5"}, ONE, 422, "invalid_field"),
        ({"threshold": "high"}, ONE, 422, "invalid_field"),
        ({"threshold": "0_1"}, ONE, 422, "invalid_field"),
        ({"threshold": "0,5"}, ONE, 422, "invalid_field"),
        ({"threshold": "-0.1"}, ONE, 422, "invalid_field"),
        ({"include": "everything"}, ONE, 422, "invalid_field"),
        ({"sesion_id": "typo"}, ONE, 422, "invalid_field"),
        ({"session_id": ["a", "b"]}, ONE, 422, "invalid_field"),
        ({"files": "text"}, [("other", ("a.jpg", b""))], 422, "invalid_field"),
        ({}, [*ONE, ("model_name", ("a.jpg", b"file"))], 422, "invalid_field"),
    ],
)
def test_a_wrong_request_is_refused_before_any_extraction(
    client: TestClient, extractor: stages.StageExtractor, form: dict[str, Any], files: list[Any], status: int, code: str
) -> None:
    """Each has its status and code, and costs the extractor nothing."""
    response = client.post("/batch/predict", data=form, files=files)
    problem = response.json()
    assert (response.status_code, problem["code"]) == (status, code)
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["error"] == problem["detail"]
    assert problem["request_id"] == response.headers["x-request-id"]
    assert extractor.calls == []


def test_a_long_number_is_refused_at_once(client: TestClient) -> None:
    """The event loop reads it: for as long as that takes nobody else is answered."""
    began = time.perf_counter()
    response = client.post("/batch/predict", data={"threshold": "0" * 35_000 + "x"}, files=ONE)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_field")
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize("threshold", ["0", "1", "1.", ".5", "+0.5", "5e-1", "5.0E-1", " 0.5 ", "0.0e9"])
def test_every_way_to_write_a_number_is_read(client: TestClient, threshold: str) -> None:
    """What a form's own language writes is sent as it is."""
    answer = client.post("/batch/predict", data={"threshold": threshold}, files=ONE)
    assert answer.json()["summary"]["threshold"] == float(threshold)


def test_a_refused_request_harms_no_later_one(client: TestClient) -> None:
    """The next good request is answered."""
    client.post("/batch/predict", data={"session_id": "../../etc"}, files=ONE)
    assert client.post("/batch/predict", files=ONE).status_code == 200


@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
def test_a_body_that_is_no_form_is_refused(client: TestClient, content_type: str) -> None:
    """The media type decides."""
    response = client.post("/batch/predict", content=b"{}", headers={"content-type": content_type})
    assert (response.status_code, response.json()["code"]) == (415, "unsupported_file_type")


@pytest.mark.parametrize(
    "parameters", ["", "; boundary=x", "; boundary=b; charset=undefined", "; boundary=b; charset=punycode"]
)
def test_a_broken_form_is_a_bad_request(client: TestClient, parameters: str) -> None:
    """A missing boundary, a garbled part or an encoding that is none is the client's error."""
    body = FORM if "charset" in parameters else b"garbage"
    response = client.post("/batch/predict", content=body, headers={"content-type": f"multipart/form-data{parameters}"})
    assert (response.status_code, response.json()["code"]) == (400, "bad_request")
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("n_kept", [len(FORM) - 1, len(FORM) - 5, FORM.index(b"threshold") + 20, FORM.index(b"\xff")])
def test_a_form_that_is_cut_short_is_a_bad_request(client: TestClient, n_kept: int) -> None:
    """A frame or a field would be missing, and the answer would not say so."""
    headers = {"content-type": "multipart/form-data; boundary=b"}
    assert client.post("/batch/predict", content=FORM, headers=headers).status_code == 200
    response = client.post("/batch/predict", content=FORM[:n_kept], headers=headers)
    assert (response.status_code, response.json()["code"]) == (400, "bad_request")
    assert "cut short" in response.json()["detail"]


def test_an_encoding_of_every_day_is_taken(client: TestClient) -> None:
    """Few clients name one, and then UTF-8."""
    headers = {"content-type": 'multipart/form-data; boundary=b; charset="UTF-8"'}
    assert client.post("/batch/predict", content=FORM, headers=headers).status_code == 200


def test_a_browsers_empty_file_field_is_no_file(client: TestClient) -> None:
    """It sends a part without a name or content where nothing was chosen."""
    part = b'--b\r\nContent-Disposition: form-data; name="files"; filename=""\r\n\r\n\r\n--b--\r\n'
    headers = {"content-type": "multipart/form-data; boundary=b"}
    response = client.post("/batch/predict", content=part, headers=headers)
    assert (response.status_code, response.json()["code"]) == (400, "no_files")


def test_an_empty_post_has_no_files(client: TestClient) -> None:
    """What `curl -X POST` sends."""
    response = client.post("/batch/predict")
    assert (response.status_code, response.json()["code"]) == (400, "no_files")


def test_a_body_over_the_limit_is_refused_though_it_declares_no_length(client: TestClient) -> None:
    """A chunked body is counted as it comes."""
    response = client.post(
        "/batch/predict",
        content=(b"x" * 1000 for _ in range(50)),
        headers={"content-type": "multipart/form-data; boundary=x"},
    )
    assert (response.status_code, response.json()["code"]) == (413, "payload_too_large")


def test_a_body_that_declares_too_much_is_refused_unread(client: TestClient) -> None:
    """Content-Length alone decides, and the answer is a problem like any other."""
    response = client.post("/batch/predict", files=files_of(*[stages.image(0.5) + b"x" * 1500] * 30))
    assert (response.status_code, response.json()["code"]) == (413, "payload_too_large")


def test_a_body_that_declares_too_much_is_refused_while_others_are_under_way(client: TestClient) -> None:
    """To try again later, as 503 says, would not help."""
    with ThreadPoolExecutor(2) as threads:
        for _ in range(2):
            threads.submit(client.post, "/batch/predict", files=files_of(stages.HANGS))
        statuses = {client.post("/batch/predict", content=b"x" * 50_000).status_code for _ in range(10)}
    assert statuses == {413}


def test_bodies_that_declare_no_length_need_the_room_that_they_take(make_service: Callable[..., Service]) -> None:
    """Gateways send them so; two of the largest would not fit, two small ones do."""
    admission = Admission(max_requests=2, max_bytes=50_000, retry_after_s=7)
    with TestClient(create_app(make_service(admission=admission))) as client, ThreadPoolExecutor(2) as threads:
        answers = [threads.submit(post_in_chunks, client, stages.HANGS) for _ in range(2)]
    assert [answer.result().json()["code"] for answer in answers] == ["deadline_exceeded"] * 2


def post_in_chunks(client: TestClient, image: bytes) -> Response:
    """Post a frame without saying how long the body is."""
    form = Request("POST", "http://here", files=files_of(image)).prepare()
    assert isinstance(form.body, bytes)
    content_type = {"content-type": form.headers["Content-Type"]}
    return client.post("/batch/predict", content=iter([form.body[:50], form.body[50:]]), headers=content_type)


def test_a_client_that_leaves_in_its_upload_is_no_error(
    make_service: Callable[..., Service], caplog: pytest.LogCaptureFixture
) -> None:
    """One line of the log, with the status that nginx has for it."""
    headers = [(b"content-type", b"multipart/form-data; boundary=b"), (b"content-length", b"1000")]
    scope = {"type": "http", "method": "POST", "path": "/batch/predict", "query_string": b"", "headers": headers}
    coming: list[Message] = [
        {"type": "http.disconnect"},
        {"type": "http.request", "body": FORM[:20], "more_body": True},
    ]

    async def leave() -> None:
        async def receive() -> Message:
            return coming.pop()

        async def send(_: Message) -> None:
            return

        await create_app(make_service())(scope, receive, send)

    with caplog.at_level(logging.INFO, logger="serve_app"):
        asyncio.run(leave())
    assert [(record.levelname, " 499 " in record.message) for record in caplog.records] == [("INFO", True)]


def test_a_late_request_is_answered_504(client: TestClient) -> None:
    """The service's own deadline has its own status."""
    response = client.post("/batch/predict", files=files_of(stages.HANGS))
    assert (response.status_code, response.json()["code"]) == (504, "deadline_exceeded")


def test_a_request_waits_for_its_model_until_its_deadline_only(make_service: Callable[..., Service]) -> None:
    """The predictor may be away."""
    silent = make_service(models=Remembered(asyncio.Event().wait, fresh_s=1))
    with TestClient(create_app(silent)) as client:
        response = client.post("/batch/predict", files=ONE)
    assert (response.status_code, response.json()["code"]) == (504, "deadline_exceeded")


def test_a_full_replica_says_when_to_try_again(client: TestClient) -> None:
    """The third request of two at a time gets 503 and Retry-After; its place is free once they ended."""
    with ThreadPoolExecutor(3) as threads:
        requests = [threads.submit(client.post, "/batch/predict", files=files_of(stages.HANGS)) for _ in range(3)]
        responses = [request.result() for request in requests]
    assert sorted(response.status_code for response in responses) == [503, 504, 504]
    [refused] = [response for response in responses if response.status_code == 503]
    assert (refused.json()["code"], refused.headers["retry-after"]) == ("overloaded", "7")
    assert client.post("/batch/predict", files=ONE).status_code == 200


def test_a_bug_is_answered_without_its_traceback(
    make_service: Callable[..., Service], caplog: pytest.LogCaptureFixture
) -> None:
    """The client gets a request id to name, the log gets the rest."""

    class Broken:
        async def run(self, *_: object) -> None:
            raise ZeroDivisionError("secret /path")

    with TestClient(create_app(make_service(pipeline=Broken())), raise_server_exceptions=False) as client:
        response = client.post("/batch/predict", files=ONE, headers={"X-Request-ID": "bug-1"})
    assert (response.status_code, response.json()["code"]) == (500, "internal_error")
    assert "secret" not in response.text
    assert response.json()["request_id"] == response.headers["x-request-id"] == "bug-1"
    assert "bug-1" in caplog.text


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("GET", "/batch/predict", 405)])
def test_routing_errors_are_problems_too(client: TestClient, method: str, path: str, status: int) -> None:
    """Every refusal has one shape."""
    response = client.request(method, path)
    assert response.status_code == response.json()["status"] == status
    assert response.headers["content-type"] == "application/problem+json"
