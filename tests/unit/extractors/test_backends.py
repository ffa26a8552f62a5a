"""The choice of an extractor."""

from pathlib import Path

import pytest

from serve_app.errors import OpenFaceUnusable
from serve_app.extractors.backends import make_extractor
from serve_app.extractors.facemesh.extractor import FaceMeshExtractor
from serve_app.extractors.openface.cold import ColdExtractor
from serve_app.extractors.openface.extractor import OpenFaceExtractor
from serve_app.settings import ExtractorSettings, OpenFaceSettings

FAKE = Path(__file__).parents[2] / "fake_feature_extraction.py"


def settings(backend: str, temp_dir: Path, *flags: str, binary: Path = FAKE) -> ExtractorSettings:
    openface = OpenFaceSettings(binary=binary, temp_dir=temp_dir, slots=4, flags=flags)
    return ExtractorSettings.model_validate({"backend": backend, "openface": openface})


@pytest.mark.parametrize(
    ("backend", "flags", "kind"),
    [
        ("facemesh", (), FaceMeshExtractor),
        ("openface", (), OpenFaceExtractor),
        ("auto", (), OpenFaceExtractor),
        ("openface", ("-fake_no_fifos",), ColdExtractor),
        ("auto", ("-fake_exit_at_start",), FaceMeshExtractor),
    ],
)
def test_the_backend_is_the_one_that_is_asked_for_and_works(
    tmp_path: Path, backend: str, flags: tuple[str, ...], kind: type
) -> None:
    """``auto`` prefers OpenFace; OpenFace prefers to be warm."""
    extractor = make_extractor(settings(backend, tmp_path, *flags))
    extractor.check()
    extractor.close()
    assert type(extractor) is kind
    assert list(tmp_path.iterdir()) == []


def test_auto_says_why_it_is_the_face_mesh(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A model of the other backend would not fit."""
    make_extractor(settings("auto", tmp_path, binary=tmp_path / "absent"))
    assert "backend auto: the face mesh, because no executable FeatureExtraction at" in caplog.text


def test_the_way_without_fifos_is_said_to_be_slow(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And what to do about it."""
    make_extractor(settings("openface", tmp_path, "-fake_no_fifos")).close()
    assert "works only cold, which is slow" in caplog.text


@pytest.mark.parametrize("backend", ["openface", "auto"])
def test_a_first_start_that_was_killed_costs_no_more_than_a_second(tmp_path: Path, backend: str) -> None:
    """As where memory was short for a moment: a cold extractor would be slow for as long as the replica lives."""
    extractor = make_extractor(settings(backend, tmp_path / "temp", "-fake_killed_once", str(tmp_path / "killed")))
    extractor.close()
    assert type(extractor) is OpenFaceExtractor


def test_openface_that_was_asked_for_and_is_absent_is_an_error(tmp_path: Path) -> None:
    """No other backend takes its place unasked."""
    with pytest.raises(OpenFaceUnusable):
        make_extractor(settings("openface", tmp_path, binary=tmp_path / "absent"))


def test_what_is_wrong_with_the_binary_is_told(tmp_path: Path) -> None:
    """It neither works warm nor cold."""
    with pytest.raises(OpenFaceUnusable, match="Couldn't open the model file"):
        make_extractor(settings("openface", tmp_path, "-fake_exit_at_start"))
    assert list(tmp_path.iterdir()) == []
