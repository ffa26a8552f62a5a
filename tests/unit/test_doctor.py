"""What the doctor finds."""

import json
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serve_app import cli, doctor
from serve_app.doctor import Finding, examine
from serve_app.extractors.openface.portrait import draw_face
from serve_app.settings import DEFAULT_MODEL, PRETRAINED_DIR, AppArgs

FAKE = Path(__file__).parents[1] / "fake_feature_extraction.py"

Examine = Callable[..., dict[str, Finding]]


@pytest.fixture
def examined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Examine:
    """Examines a configuration on the fake binary; keyword arguments change it."""
    monkeypatch.delenv("REDIS_URL", raising=False)
    folders = {"output_dir": tmp_path / "output", "temp_dir": tmp_path / "temp"}

    def findings(
        backend: str = "openface", models_dir: Path = PRETRAINED_DIR, **openface: object
    ) -> dict[str, Finding]:
        extractor = {"backend": backend, "openface": {"binary": FAKE, "temp_dir": tmp_path / "temp", **openface}}
        predictor = {"device": "cpu", "models_dir": models_dir}
        args = AppArgs.model_validate({"extractor": extractor, "ingress": folders, "predictor": predictor})
        return {finding.name: finding for finding in examine(args)}

    return findings


@pytest.fixture
def redis() -> Iterator[tuple[int, list[bytes]]]:
    """A Redis of one connection that knows one password: its port, and what it was sent."""
    received: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            while b"QUIT" not in b"".join(received):
                received.append(connection.recv(4096))
            asked = b"".join(received)
            welcome = b"+OK\r\n+PONG\r\n" if b"s3cret" in asked else b"-NOAUTH Authentication required.\r\n"
            connection.sendall(welcome + b"+OK\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        server = threading.Thread(target=serve, args=(listener,))
        server.start()
        yield listener.getsockname()[1], received
        server.join(10)


def test_openface_is_described_by_what_it_did(examined: Examine) -> None:
    """Where it is, which generation, how fast, and by which flags."""
    openface = examined(flags=("-fake_generation", "2.2"))["openface"]
    assert openface.status == "ok"
    for words in (str(FAKE), "generation 2.2", "ms a frame", "1 thread", "679 columns by -2Dfp"):
        assert words in openface.detail


def test_everything_else_is_looked_at(examined: Examine) -> None:
    """In this order."""
    findings = examined()
    assert list(findings) == ["openface", "facemesh", "ray", "device", "models", "TEMP_DIR", "OUTPUT_DIR", "redis"]
    for name in ("facemesh", "ray", "device", "TEMP_DIR", "OUTPUT_DIR"):
        assert findings[name].status == "ok"


@pytest.mark.parametrize(("backend", "status"), [("openface", "broken"), ("auto", "absent"), ("facemesh", "absent")])
def test_an_absent_openface_is_broken_only_where_it_is_needed(examined: Examine, backend: str, status: str) -> None:
    """The remedy says what to do."""
    openface = examined(backend, binary="/absent")["openface"]
    assert openface.status == status
    assert "OPENFACE_BINARY" in openface.detail
    assert openface.remedy


def test_an_openface_that_fails_is_not_to_be_installed_again(examined: Examine) -> None:
    """The remedy is for what it says."""
    openface = examined(flags=("-fake_exit_at_start",))["openface"]
    assert (openface.status, "install" in openface.remedy) == ("broken", False)
    assert "Couldn't open the model file" in openface.detail
    assert "models belong beside the binary" in openface.remedy


def test_an_openface_without_fifos_works_cold(examined: Examine) -> None:
    """As the service would run it, and ``auto`` would not take the face mesh instead."""
    openface = examined("auto", flags=("-fake_no_fifos",))["openface"]
    assert openface.status == "ok"
    assert "works only cold" in openface.detail
    assert "FIFOs" in openface.remedy


def test_action_units_are_warned_of(examined: Examine) -> None:
    """The older generation crashes on them."""
    openface = examined(flags=("-aus",))["openface"]
    assert (openface.status, "remove -aus" in openface.remedy) == ("broken", True)


def test_a_binary_that_fails_on_frames_is_broken(examined: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though it starts."""
    face = draw_face()
    monkeypatch.setattr("serve_app.extractors.openface.probe.draw_face", lambda: face + b"FAKE:segfault")
    openface = examined()["openface"]
    assert openface.status == "broken"
    assert "started, and then failed on a frame" in openface.detail


def test_absent_networks_are_broken_where_nothing_else_is_there(
    examined: Examine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``auto`` needs one of the two."""
    monkeypatch.setenv("DEEPFAKE_SERVE_CACHE", str(tmp_path))
    assert examined("auto", binary="/absent")["facemesh"].status == "broken"
    assert examined("auto")["facemesh"].status == "absent"


def test_a_folder_that_cannot_be_written_is_broken(examined: Examine, tmp_path: Path) -> None:
    """Here a file stands in its place."""
    (tmp_path / "output").touch()
    output = examined("facemesh", binary="/absent")["OUTPUT_DIR"]
    assert (output.status, output.remedy) == ("broken", "set OUTPUT_DIR to a writable folder")


def test_ray_without_serve_is_broken(examined: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or no Ray at all."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert examined("facemesh", binary="/absent")["ray"].status == "broken"

    def fail(_: str) -> None:
        raise ModuleNotFoundError("No module named 'ray'")

    monkeypatch.setattr("importlib.util.find_spec", fail)
    assert "No module named 'ray'" in examined("facemesh", binary="/absent")["ray"].detail


@pytest.mark.parametrize("name", ["weights.safetensors", "card.md"])
def test_models_that_the_predictor_would_refuse_are_broken(examined: Examine, tmp_path: Path, name: str) -> None:
    """Though their manifests hold."""
    models_dir = Path(shutil.copytree(PRETRAINED_DIR, tmp_path / "models"))
    (models_dir / DEFAULT_MODEL / "1" / name).unlink()
    models = examined("facemesh", models_dir, binary="/absent")["models"]
    assert (models.status, f"{name} cannot be read" in models.detail) == ("broken", True)


def test_models_that_load_are_listed(examined: Examine) -> None:
    """With what extractor each is for."""
    models = examined("facemesh", binary="/absent")["models"]
    assert (models.status, f"{DEFAULT_MODEL}/2 for openface" in models.detail) == ("ok", True)


def test_redis_is_asked_with_its_password(
    examined: Examine, redis: tuple[int, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which no finding repeats."""
    port, received = redis
    monkeypatch.setenv("REDIS_URL", f"redis://:s3cret@127.0.0.1:{port}/0")
    finding = examined("facemesh", binary="/absent")["redis"]
    assert (finding.status, finding.detail) == ("ok", f"127.0.0.1:{port}")
    assert b"*2\r\n$4\r\nAUTH\r\n$6\r\ns3cret\r\n" in b"".join(received)


def test_redis_that_refuses_is_broken(
    examined: Examine, redis: tuple[int, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The finding has its words."""
    monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{redis[0]}")
    finding = examined("facemesh", binary="/absent")["redis"]
    assert (finding.status, "NOAUTH" in finding.detail) == ("broken", True)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://127.0.0.1:1", "does not answer"),
        ("rediss://host", "redis://"),
        ("redis://host:port", "no URL"),
        ("redis://[host", "no URL"),
        ("redis://:s3cr/et@host:6379", "no URL"),
    ],
)
def test_redis_that_cannot_be_asked_is_broken(
    examined: Examine, monkeypatch: pytest.MonkeyPatch, url: str, words: str
) -> None:
    """Nothing listens, it speaks TLS, or there is a slip in the address."""
    monkeypatch.setenv("REDIS_URL", url)
    finding = examined("facemesh", binary="/absent")["redis"]
    assert (finding.status, words in finding.detail) == ("broken", True)


@pytest.mark.parametrize(("status", "exit_status"), [("ok", 0), ("absent", 0), ("broken", 1)])
def test_the_exit_status_says_whether_something_needed_is_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], status: doctor.Status, exit_status: int
) -> None:
    """For scripts; so is --json."""
    monkeypatch.setattr(doctor, "examine", lambda _: [Finding("ray", status, "detail [x]", "remedy")])
    config = str(Path(__file__).parents[2] / "configs" / "dev.yaml")
    assert cli.main(["doctor", "--config", config]) == exit_status
    assert "detail [x]" in capsys.readouterr().out
    assert cli.main(["doctor", "--config", config, "--json"]) == exit_status
    assert json.loads(capsys.readouterr().out)["status"] == status
