"""How near the extractor comes to OpenFace: the bars of ``benchmarks/parity.py``."""

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[4] / "benchmarks" / "parity.py"

# Medians on the golden sequence: a third above what was measured, and within what users were told.
BARS = {
    "nme68_pct": 2.6,
    "rotation_deg": 4.0,
    "translation_pct": 1.5,
    "p_scale_pct": 1.0,
    "gaze_deg": 8.0,
    "gaze_angle_deg": 3.5,
    "points3d_mm": 7.5,
    "points3d_centred_mm": 7.0,
    "eye_lmk_pct": 1.8,
}


@pytest.fixture(scope="module")
def parity() -> ModuleType:
    spec = importlib.util.spec_from_file_location("parity", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(parity: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["parity.py", *map(str, arguments)])
    parity.main()


def test_the_golden_sequence_is_within_the_bars(
    parity: ModuleType, golden: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every median, over all 30 frames."""
    run(parity, monkeypatch, golden / "image_sequence" / "frames", golden / "image_sequence" / "csv", "--json")
    report = json.loads(capsys.readouterr().out)
    assert report.pop("n_frames") == 30
    assert {name: values["median"] < BARS[name] for name, values in report.items()} == dict.fromkeys(BARS, True)


def test_frames_without_a_face_are_left_out_and_named(
    parity: ModuleType,
    golden: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Mixed extensions and both sides' misses, in one folder."""
    sequence, noface = golden / "image_sequence", golden / "noface"
    for folder in ("frames", "csv"):
        (tmp_path / folder).mkdir()
    shutil.copy(sequence / "frames" / "001.jpg", tmp_path / "frames" / "a.JPEG")
    shutil.copy(noface / "frames" / "black.jpg", tmp_path / "frames" / "b.jpg")
    for name, csv in (("a", sequence / "csv" / "001.csv"), ("b", sequence / "csv" / "002.csv")):
        shutil.copy(csv, tmp_path / "csv" / f"{name}.csv")
    run(parity, monkeypatch, tmp_path / "frames", tmp_path / "csv")
    printed = capsys.readouterr()
    assert printed.out.startswith("1 frames")
    assert "1 frames left out" in printed.err
    assert "b.jpg: face mesh: no face" in printed.err


def test_folders_without_pairs_are_an_error(
    parity: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message says what was looked at."""
    with pytest.raises(SystemExit, match="none of the 0 images"):
        run(parity, monkeypatch, tmp_path, tmp_path)
    with pytest.raises(SystemExit, match="is not a folder"):
        run(parity, monkeypatch, tmp_path / "absent", tmp_path)
