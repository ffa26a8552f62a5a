"""OpenFace without FIFOs."""

from collections.abc import Iterator
from pathlib import Path
from threading import Event, Timer

import pytest

from serve_app.errors import ExtractionFailed, FrameError, FrameTimeout, OpenFaceUnusable, Undecodable
from serve_app.extractors.openface.cold import ColdExtractor
from tests.unit.extractors.openface.conftest import FAKE, Configure, Draw, Load


@pytest.fixture
def cold(configure: Configure) -> Iterator[ColdExtractor]:
    """A cold extractor whose frames may take half a second."""
    settings = configure("-fake_no_fifos", frame_timeout_s=0.5)
    extractor = ColdExtractor(settings, FAKE)
    yield extractor
    extractor.close()
    assert list(settings.openface.temp_dir.iterdir()) == []


def test_it_writes_what_a_warm_one_writes(cold: ColdExtractor, load: Load, draw: Draw, tmp_path: Path) -> None:
    """One frame or a chunk of them."""
    frames = [draw(number) for number in range(4)]
    warm = load(temp_dir=tmp_path / "warm")
    assert cold.extract_chunk(frames) == [warm.extract(frame) for frame in frames]
    assert cold.extract(frames[2]) == warm.extract(frames[2])
    cold.check()


def test_bad_frames_cost_themselves_only(cold: ColdExtractor, draw: Draw) -> None:
    """The frames after one that ended the process are done by the next."""
    frames = [draw(number) for number in range(8)]
    frames[0] = b"no picture"
    frames[2], frames[4], frames[5] = draw(2, "segfault"), draw(4, "no_csv"), draw(5, "hang")
    outcomes = cold.extract_chunk(frames)
    failures = {index: type(outcome) for index, outcome in enumerate(outcomes) if isinstance(outcome, FrameError)}
    assert failures == {0: Undecodable, 2: ExtractionFailed, 4: ExtractionFailed, 5: FrameTimeout}


def test_a_single_bad_frame_raises(cold: ColdExtractor, draw: Draw) -> None:
    """As every extractor does."""
    with pytest.raises(ExtractionFailed, match="SIGSEGV"):
        cold.extract(draw(1, "segfault"))


@pytest.mark.usefixtures("short_grace")
def test_a_caller_that_leaves_is_not_worked_for(cold: ColdExtractor, draw: Draw) -> None:
    """The frame in hand is given up, and no process is started for the rest of the chunk."""
    stop = Event()
    cold._settings = cold._settings.model_copy(update={"frame_timeout_s": 20})
    Timer(0.1, stop.set).start()
    outcomes = cold.extract_chunk([draw(1, "hang"), draw(2)], stop)
    assert ["the caller left" in str(outcome) for outcome in outcomes] == [True, True]


def test_a_binary_that_does_not_answer_is_refused(configure: Configure) -> None:
    """It is tried out on one picture."""
    with pytest.raises(OpenFaceUnusable, match="does not answer as OpenFace does"):
        ColdExtractor(configure("-fake_exit_at_start"), FAKE)


def test_frames_fail_when_the_binary_is_gone(
    cold: ColdExtractor, draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The client is told to try later, the log says what is wrong."""
    monkeypatch.setattr("serve_app.extractors.openface.command._dies_with_parent", tuple)  # it would start, and fail
    cold._binary = tmp_path / "absent"
    [outcome] = cold.extract_chunk([draw(1)])
    assert isinstance(outcome, ExtractionFailed)
    assert "cannot be started" in caplog.text


def test_a_binary_that_is_gone_has_the_replica_replaced(
    cold: ColdExtractor, draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After three failed starts in a row; one that succeeds makes up for those before it."""
    monkeypatch.setattr("serve_app.extractors.openface.cold._PAUSE_S", 0)
    there, gone = cold._binary, tmp_path / "absent"
    for binary in (gone, gone, there, gone, gone):
        cold._binary = binary
        cold.extract_chunk([draw(1)])
        cold.check()
    cold.extract_chunk([draw(1)])
    with pytest.raises(OpenFaceUnusable, match="failed to start 3 times"):
        cold.check()


def test_frames_fail_when_temp_dir_is_full(
    cold: ColdExtractor, draw: Draw, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As they do when there is no process for them."""

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    [outcome] = cold.extract_chunk([draw(1)])
    assert isinstance(outcome, ExtractionFailed)
    assert "cannot hold the frames: [Errno 28] No space left on device" in caplog.text
