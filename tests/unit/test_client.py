"""The Python client, against the HTTP application on a real socket."""

import asyncio
import json
import os
import threading
from collections.abc import Callable, Iterator
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest
import requests
import uvicorn
from rich.console import Console

from serve_app import cli
from serve_app.addresses import free_port
from serve_app.client import BatchDeepfakeClient, ServiceRefused
from serve_app.console import show_answer
from serve_app.http.app import create_app
from serve_app.http.service import Service
from serve_app.settings import IngressSettings, PipelineSettings
from tests.unit import stages
from tests.unit.http.conftest import build_service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    """The stages in memory, with a deadline of a second."""
    folder = tmp_path_factory.mktemp("service")
    settings = IngressSettings(
        pipeline=PipelineSettings(deadline_s=1.0), output_dir=folder / "output", temp_dir=folder / "temp"
    )
    return build_service(settings, stages.StageExtractor(), stages.StagePredictor())


@pytest.fixture(scope="module")
def url(service: Service) -> Iterator[str]:
    """The application behind uvicorn on a loopback port: one for all tests, for each start and stop takes 0.2 s."""
    config = uvicorn.Config(create_app(service), port=free_port(), log_level="error", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=asyncio.run, args=(server.serve(),))
    thread.start()
    while not server.started:
        thread.join(0.01)
    yield f"http://127.0.0.1:{config.port}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def frame_paths(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"frame_{index:04d}.jpg" for index in range(3)]
    for path, content in zip(paths, (stages.image(0.9), stages.NO_FACE, stages.image(0.2)), strict=True):
        path.write_bytes(content)
    return paths


@pytest.fixture
def client(url: str) -> Iterator[BatchDeepfakeClient]:
    with BatchDeepfakeClient(base_url=url) as client:
        yield client


def test_the_seeds_calls_work(client: BatchDeepfakeClient, frame_paths: list[Path]) -> None:
    """As its README shows them."""
    assert client.health_check()["status"] == "healthy"
    result = client.predict_batch(
        frame_paths=[str(path) for path in frame_paths],
        session_id="my-video",
        model_name="mobilenetv2_celebv2",
        cleanup=True,
    )
    assert (result["session_id"], result["frames_processed"]) == ("my-video", 3)
    assert result["summary"]["average_score"] == pytest.approx(0.55)


def test_a_directory_is_sent_in_name_order(client: BatchDeepfakeClient, frame_paths: list[Path]) -> None:
    """At most max_frames, by pattern; a folder is no frame, whatever its name."""
    (frame_paths[0].parent / "a.jpg").mkdir()
    result = client.predict_from_directory(directory=frame_paths[0].parent, max_frames=2, pattern="*.jpg")
    assert [frame["status"] for frame in result["predictions"]] == ["ok", "no_face"]
    with pytest.raises(FileNotFoundError, match=r"\*\.png"):
        client.predict_from_directory(frame_paths[0].parent, pattern="*.png")


def test_frames_can_be_followed(client: BatchDeepfakeClient, frame_paths: list[Path]) -> None:
    """One event a frame, then the answer."""
    events = list(client.stream_batch(frame_paths, "s", threshold=0.95))
    assert [name for name, _ in events] == ["frame"] * 3 + ["result"]
    assert events[-1][1]["summary"]["threshold"] == 0.95


def test_a_name_that_is_not_utf_8_is_sent_and_shown(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of an old camera's files, say; what cannot be written so is a question mark."""
    (tmp_path / os.fsdecode(b"caf\xe9.jpg")).write_bytes(stages.image(0.9))
    assert cli.main(["predict", "--url", url, str(tmp_path)]) == 0
    assert "caf?.jpg" in capsys.readouterr().out


def test_a_terminal_that_cannot_show_a_name_loses_nothing(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything is scored by the time that the table is printed."""
    (tmp_path / "日本.jpg").write_bytes(stages.image(0.9))
    terminal = TextIOWrapper(BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", terminal)
    assert cli.main(["predict", "--url", url, str(tmp_path)]) == 0
    terminal.seek(0)
    assert "??.jpg" in terminal.read()


def test_an_argument_that_is_no_text_is_one_line(
    url: str, frame_paths: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """As a shell may pass any bytes."""
    assert cli.main(["predict", "--url", url, "--model", os.fsdecode(b"\xff"), str(frame_paths[0])]) == 1
    assert capsys.readouterr().err.strip().startswith("error: ")


def test_a_refusal_is_an_exception_with_its_code(client: BatchDeepfakeClient, frame_paths: list[Path]) -> None:
    """Streamed or not."""
    with pytest.raises(ServiceRefused, match="no model is named") as caught:
        client.predict_batch(frame_paths, model_name="nope")
    assert (caught.value.status, caught.value.code) == (404, "unknown_model")
    with pytest.raises(ServiceRefused, match="session_id"):
        list(client.stream_batch(frame_paths, "../../etc"))


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have something else answer every request: a gateway, say."""

    def answer(status: int, body: bytes, **headers: str) -> None:
        def send(_: requests.Session, request: requests.PreparedRequest, **__: object) -> requests.Response:
            response = requests.Response()
            response.status_code, response.raw, response.url = status, BytesIO(body), str(request.url)
            response.headers.update(headers)
            return response

        monkeypatch.setattr(requests.Session, "send", send)

    return answer


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"status": "error"}', "no reason"),
        (b'{"status": null, "detail": "Not Found"}', "Not Found"),
        (b'"words"', "words"),
        (b"[]", r"\[\]"),
        (b"null", "null"),
        (b"<html>Bad Gateway</html>", "Bad Gateway"),
        (b"", "no reason"),
    ],
)
def test_an_error_of_someone_elses_is_a_refusal_with_its_status(
    client: BatchDeepfakeClient, frame_paths: list[Path], answered: Callable[..., None], body: bytes, words: str
) -> None:
    """A gateway speaks as it likes; streamed or not."""
    answered(502, body, **{"Retry-After": "7"})
    for ask in (lambda: client.predict_batch(frame_paths), lambda: list(client.stream_batch(frame_paths))):
        with pytest.raises(ServiceRefused, match=words) as caught:
            ask()
        assert (caught.value.status, caught.value.code, caught.value.retry_after_s) == (502, "unknown", 7)


@pytest.mark.parametrize("body", [b"<html>Please log in</html>", b"[]", b"null"])
def test_an_answer_of_someone_elses_is_no_answer(
    client: BatchDeepfakeClient, frame_paths: list[Path], answered: Callable[..., None], body: bytes
) -> None:
    """A login page says 200 too."""
    answered(200, body)
    for ask in (client.health_check, lambda: client.predict_batch(frame_paths)):
        with pytest.raises(requests.ConnectionError, match="not this service"):
            ask()
    with pytest.raises(requests.ConnectionError):
        list(client.stream_batch(frame_paths))


def test_a_stream_that_breaks_off_in_an_event_is_a_failure(
    client: BatchDeepfakeClient, frame_paths: list[Path], answered: Callable[..., None]
) -> None:
    """What came before it is given."""
    answered(200, b'event: frame\ndata: {"frame_id": 0}\n\nevent: result\ndata: {"status": "suc')
    events = client.stream_batch(frame_paths)
    assert next(events) == ("frame", {"frame_id": 0})
    with pytest.raises(requests.ConnectionError, match="broke off"):
        next(events)


def test_a_problem_of_someone_elses_is_a_refusal(
    client: BatchDeepfakeClient, frame_paths: list[Path], answered: Callable[..., None]
) -> None:
    """Whatever its event holds."""
    answered(200, b'event: problem\ndata: {"title": "Gone"}\n\n')
    with pytest.raises(ServiceRefused, match="no reason"):
        list(client.stream_batch(frame_paths))


def test_a_late_answer_is_a_refusal_in_the_stream(client: BatchDeepfakeClient, tmp_path: Path) -> None:
    """The problem event is raised."""
    (tmp_path / "hangs.jpg").write_bytes(stages.HANGS)
    with pytest.raises(ServiceRefused, match="not done within") as caught:
        list(client.stream_batch([tmp_path / "hangs.jpg"]))
    assert caught.value.code == "deadline_exceeded"


def test_the_command_line_prints_a_table(url: str, frame_paths: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    """Frames, their scores, and the verdict."""
    assert cli.main(["predict", "--url", url, str(frame_paths[0].parent)]) == 0
    printed = capsys.readouterr().out
    assert "frame_0000" in printed
    assert "0.900" in printed
    assert "no_face" in printed
    assert "1 fake, 1 real, 1 without a score" in printed


def test_the_command_line_marks_what_the_model_does_not_know(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And says why it scored so where it is asked."""
    for index, novelty in enumerate((0.5, 1.5)):
        (tmp_path / f"{index}.jpg").write_bytes(stages.image(0.9, novelty))
    assert cli.main(["predict", "--url", url, "--reasons", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert [line.count("fake?") for line in printed.splitlines() if ".jpg" in line] == [0, 1]
    assert printed.count("head pose +6.3") == 2
    assert "knows no such face (1 frames)" in printed


def test_the_command_line_says_that_a_model_gives_no_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    """An imported graph, whose answer has null for them; the usual one has none because nobody asked."""
    scored = {"score": 0.9, "label": "fake", "confidence": 0.8}
    frame = {"frame_id": 0, "status": "ok", "prediction": scored, "out_of_distribution": None, "error": None}
    summary = {"average_score": None, "total_frames": 1, "out_of_distribution_count": None}
    for told, asked in ((0, {}), (1, {"reasons": None})):
        answer = {"session_id": "s", "predictions": [frame | asked], "summary": summary}
        show_answer(Console(), answer, ["frame.jpg"])
        assert capsys.readouterr().out.count("this model gives no reasons") == told


def test_the_command_line_prints_json(url: str, frame_paths: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    """More than 30 files are several requests, an answer a line."""
    many = [str(path) for path in frame_paths * 11]
    assert cli.main(["predict", "--url", url, "--json", "--threshold", "0.1", *many]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["frames_processed"] for answer in answers] == [30, 3]
    assert answers[0]["summary"]["threshold"] == 0.1


def test_the_command_line_keeps_what_was_answered_before_a_failure(
    url: str, frame_paths: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a long run whose last file is gone."""
    many = [str(path) for path in [*frame_paths * 10, Path("missing.jpg")]]
    assert cli.main(["predict", "--url", url, "--json", *many]) == 1
    told = capsys.readouterr()
    assert json.loads(told.out)["frames_processed"] == 30
    assert "missing.jpg" in told.err


def test_the_command_line_takes_only_files_out_of_a_folder(
    url: str, frame_paths: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """No folder that is named as an image, and no link that leads nowhere."""
    (frame_paths[0].parent / "folder.jpg").mkdir()
    (frame_paths[0].parent / "link.jpg").symlink_to("nowhere")
    assert cli.main(["predict", "--url", url, "--json", str(frame_paths[0].parent)]) == 0
    assert json.loads(capsys.readouterr().out)["frames_processed"] == 3


def test_the_command_line_fails_when_nothing_was_scored(url: str, tmp_path: Path) -> None:
    """A script can tell."""
    (tmp_path / "black.png").write_bytes(stages.NO_FACE)
    assert cli.main(["predict", "--url", url, str(tmp_path)]) == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["missing.jpg"], "No such file"),
        (["."], "no .jpg"),
        (["--model", "nope", "frame.jpg"], "404 unknown_model"),
        (["--session-id", "s", *["frame.jpg"] * 31], "--session-id"),
    ],
)
def test_the_command_line_says_what_is_wrong(
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    reason: str,
) -> None:
    """One line on stderr, no traceback."""
    monkeypatch.chdir(tmp_path)
    if "." not in arguments:
        Path("frame.jpg").write_bytes(stages.image(0.5))
    assert cli.main(["predict", "--url", url, *arguments]) == 1
    assert reason in " ".join(capsys.readouterr().err.split())


def test_an_absent_service_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The commonest mistake of all."""
    (tmp_path / "frame.jpg").write_bytes(stages.image(0.5))
    url = f"http://127.0.0.1:{free_port()}"
    assert cli.main(["predict", "--url", url, str(tmp_path)]) == 1
    assert "cannot be reached" in capsys.readouterr().err
    with pytest.raises(requests.ConnectionError):
        BatchDeepfakeClient(url).health_check()
