"""The binary: where it is looked for, its command line and environment."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from serve_app.errors import OpenFaceUnusable
from serve_app.extractors.openface import command
from serve_app.extractors.openface.command import command_line, environment, find_binary
from serve_app.settings import OpenFaceSettings
from tests.unit.extractors.openface.conftest import FAKE


def test_the_configured_binary_is_taken_by_its_real_path(tmp_path: Path) -> None:
    """OpenFace looks for its models beside the path it was started by."""
    link = tmp_path / "FeatureExtraction"
    link.symlink_to(FAKE)
    assert find_binary(OpenFaceSettings(binary=link)) == FAKE


def test_a_bare_name_is_looked_for_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not stand in the working directory."""
    monkeypatch.setenv("PATH", str(FAKE.parent))
    assert find_binary(OpenFaceSettings(binary=Path(FAKE.name))) == FAKE


def test_the_usual_places_are_searched_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a configured binary."""
    monkeypatch.setattr(command, "USUAL_PLACES", (tmp_path / "absent", FAKE))
    assert find_binary(OpenFaceSettings(binary=None)) == FAKE


def test_an_absent_binary_says_where_it_was_looked_for(tmp_path: Path) -> None:
    """And how to name it."""
    with pytest.raises(OpenFaceUnusable, match=r"FeatureExtraction at .*/absent; set OPENFACE_BINARY"):
        find_binary(OpenFaceSettings(binary=tmp_path / "absent"))


def test_the_command_line_names_slots_features_and_extras() -> None:
    """Relative names only: the working directory is the scratch folder."""
    settings = OpenFaceSettings(model=Path("/models/main.txt"), flags=("-wild",))
    argv = command_line(Path("/bin/fe"), settings, ["a0.bin", "b0.bin"])
    assert argv[argv.index("/bin/fe") :] == [
        "/bin/fe", "-f", "a0.bin", "-f", "b0.bin", "-out_dir", ".", "-mloc", "/models/main.txt",
        "-2Dfp", "-3Dfp", "-pdmparams", "-pose", "-gaze", "-wild",
    ]  # fmt: skip


def test_the_environment_holds_no_secret_and_no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the service knows is not the binary's."""
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    monkeypatch.setenv("DISPLAY", ":0")
    made = environment(Path("/scratch"), fifos=True)
    assert {"RAY_AUTH_TOKEN", "DISPLAY"}.isdisjoint(made)
    assert made["HOME"] == "/scratch"


def test_openblas_has_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the service was told: a replica with a core and one without must write the same digits."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "8")
    assert environment(Path("/scratch"), fifos=True)["OPENBLAS_NUM_THREADS"] == "1"


def test_only_plain_files_may_be_read_as_numbered_images() -> None:
    """That reader opens a FIFO twice, which hangs."""
    assert environment(Path("/scratch"), fifos=True)["OPENCV_VIDEOIO_PRIORITY_CV_IMAGES"] == "0"
    assert "OPENCV_VIDEOIO_PRIORITY_CV_IMAGES" not in environment(Path("/scratch"), fifos=False)


@pytest.mark.parametrize("status", [1, 0])
def test_setpriv_is_used_only_where_it_has_the_option(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """BusyBox's has not."""

    def run(argv: list[str], **_: Any) -> subprocess.CompletedProcess[bytes]:
        return subprocess.CompletedProcess(argv, status)

    monkeypatch.setattr("shutil.which", lambda _: "/bin/setpriv")
    monkeypatch.setattr("subprocess.run", run)
    command._dies_with_parent.cache_clear()
    used = command._dies_with_parent() == ("/bin/setpriv", "--pdeathsig", "KILL", "--")
    command._dies_with_parent.cache_clear()
    assert used == (status == 0)


def test_without_setpriv_the_child_is_started_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next sweep of TEMP_DIR ends it if this process is killed."""
    monkeypatch.setattr("shutil.which", lambda _: None)
    command._dies_with_parent.cache_clear()
    assert command._dies_with_parent() == ()
    command._dies_with_parent.cache_clear()
