"""The command line's frame: how a command ends that does not end well."""

from pathlib import Path

import pytest

from serve_app import cli, launcher


def test_an_interrupted_command_ends_in_a_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And with the status that shells give to Ctrl-C."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(launcher, "run_in_place", interrupt)
    assert cli.main(["run"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_an_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """However long: a path in it can be copied from a log."""
    folder = f"/{'long/' * 40}models"
    assert cli.main(["models", "--models-dir", folder]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert folder in line


@pytest.mark.parametrize("make_folder", [True, False])
def test_the_demo_looks_for_its_frames_first(
    tmp_path: Path, make_folder: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not after half a minute in which the service has started."""
    monkeypatch.setattr(launcher, "running_service", lambda *_, **__: pytest.fail("it was started"))
    frames = tmp_path / "frames"
    if make_folder:
        frames.mkdir()
    assert cli.main(["demo", "--frames", str(frames)]) == 1
    assert str(frames) in capsys.readouterr().err
