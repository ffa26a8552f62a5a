"""The OpenFace extractor on the fake binary: what it answers, and what it survives."""

import os
import signal
import time
from io import BytesIO
from pathlib import Path
from threading import Event, Timer

import pytest
from PIL import Image

from serve_app.errors import ExtractionFailed, FrameError, FrameTimeout, OpenFaceUnusable, Undecodable
from serve_app.extractors.openface.extractor import OpenFaceExtractor
from serve_app.extractors.openface.patience import Patience
from serve_app.extractors.openface.portrait import draw_speck
from serve_app.extractors.openface.warm import WarmProcess
from serve_app.features.table import read_face, write_face
from serve_app.frames import ExtractedFrame
from tests.unit.conftest import Encode
from tests.unit.extractors.openface.conftest import FAKE, Configure, Draw, Load, wait_until


def process_of(extractor: OpenFaceExtractor) -> int:
    process = extractor._supervisor._current
    assert process is not None
    return int(process.pid)  # type: ignore[attr-defined]  # the Protocol does not name it


def test_a_frame_becomes_a_csv_of_679_columns(load: Load, draw: Draw) -> None:
    """That the parser reads."""
    assert read_face(load().extract(draw(1)).csv, min_confidence=0.7).confidence == pytest.approx(0.98)


def test_a_csv_depends_on_its_frame_only(load: Load, draw: Draw) -> None:
    """Not on the frames before it, nor on the process; more frames than one process takes."""
    one, other = load(slots=5), load(slots=40)
    frames = [draw(number) for number in range(12)]
    backwards = [other.extract(frame) for frame in reversed(frames)]
    assert [one.extract(frame) for frame in frames] == backwards[::-1]


def test_no_frame_waits_for_the_next_process_to_load(load: Load, draw: Draw) -> None:
    """It is loaded while the one before still works."""
    extractor = load("-fake_load", "0.3", slots=12)
    for number in range(8):
        extractor.extract(draw(number))
    successor = extractor._supervisor._next
    assert successor is not None
    successor.result(10)
    began = time.monotonic()
    for number in range(4):
        extractor.extract(draw(number))
    assert time.monotonic() - began < 0.3


def test_a_frame_without_a_face_is_the_zero_row(load: Load, draw: Draw) -> None:
    """Whatever the process left in it."""
    assert load().extract(draw(1, "no_face")).csv == write_face({"frame": 1})


@pytest.mark.parametrize("failure", ["partial_line", "stderr_flood", "stop_reading", "slow"])
def test_what_is_only_odd_costs_nothing(load: Load, draw: Draw, failure: str) -> None:
    """The frame is answered, and the process stays."""
    extractor = load()
    before = process_of(extractor)
    assert read_face(
        extractor.extract(draw(1, failure) + bytes(200_000 * (failure == "stop_reading"))).csv, min_confidence=0
    )
    assert process_of(extractor) == before


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        ("no_csv", "wrote no CSV"),
        ("truncated", "cut off"),
        ("two_rows", "2 rows"),
        ("few_values", "678 values"),
        ("segfault", "killed by SIGSEGV"),
        ("exit", "exit status 0"),
    ],
)
def test_one_bad_frame_of_thirty_costs_that_frame_only(load: Load, draw: Draw, failure: str, reason: str) -> None:
    """The other 29 are answered, by the same process or by the next."""
    extractor = load(slots=40)
    answered = []
    for number in range(30):
        try:
            answered.append(extractor.extract(draw(number, failure if number == 7 else "")))
        except ExtractionFailed as error:
            assert reason in str(error)
    assert len(answered) == 29


def test_a_hanging_frame_is_a_timeout(load: Load, draw: Draw) -> None:
    """Its process ignores SIGTERM, and is gone all the same."""
    extractor = load(frame_timeout_s=0.2)
    hanging = process_of(extractor)
    with pytest.raises(FrameTimeout):
        extractor.extract(draw(1, "hang"))
    assert not Path(f"/proc/{hanging}").exists()
    extractor.extract(draw(2))


def test_a_kill_in_the_middle_costs_one_frame(load: Load, draw: Draw) -> None:
    """As by the kernel when memory runs out."""
    extractor = load()
    Timer(0.1, os.kill, (process_of(extractor), signal.SIGKILL)).start()
    with pytest.raises(ExtractionFailed, match="SIGKILL"):
        extractor.extract(draw(1, "slow"))
    assert extractor.extract(draw(2))


def test_a_process_that_died_idle_costs_no_frame(load: Load, draw: Draw) -> None:
    """The health check has the next one loaded before a frame comes."""
    extractor = load()
    dead = process_of(extractor)
    os.kill(dead, signal.SIGKILL)
    wait_until(lambda: not extractor._supervisor._current.is_alive())  # type: ignore[union-attr]  # it has one
    extractor.check()
    assert extractor._supervisor._next is not None
    extractor.extract(draw(1))
    assert process_of(extractor) != dead


def test_an_idle_process_is_kept_from_giving_up(load: Load, draw: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV does not wait for a slot to be filled for longer than 30 s; here it is half a second."""
    monkeypatch.setattr("serve_app.extractors.openface.supervisor._REFRESH_POLL_S", 0.02)
    monkeypatch.setattr("serve_app.extractors.openface.supervisor._REFRESH_IDLE_S", 0.05)
    extractor = load("-fake_patience", "0.5", slots=200)
    before, began = process_of(extractor), time.monotonic()
    wait_until(lambda: time.monotonic() - began > 0.8)
    extractor.extract(draw(1))
    assert process_of(extractor) == before


def test_an_idle_process_that_hangs_is_replaced(load: Load, draw: Draw, caplog: pytest.LogCaptureFixture) -> None:
    """Before a frame finds out."""
    extractor = load()
    hanging = extractor._supervisor._current
    assert isinstance(hanging, WarmProcess)
    os.kill(hanging.pid, signal.SIGSTOP)
    hanging.refresh(idle_s=0, timeout_s=0.05)
    assert "an idle OpenFace is replaced: looking at a speck was not done within 0.05 s" in caplog.text
    extractor.extract(draw(1))


@pytest.mark.usefixtures("short_grace")
def test_nothing_works_for_a_caller_that_left(load: Load, draw: Draw) -> None:
    """Within half a second of the grace; the next caller is served."""
    extractor = load()
    stop = Event()
    Timer(0.05, stop.set).start()
    began = time.monotonic()
    with pytest.raises(ExtractionFailed, match="caller left"):
        extractor.extract(draw(1, "hang"), stop)
    assert time.monotonic() - began < 0.6
    extractor.extract(draw(2))


def test_a_frame_that_is_nearly_done_is_finished_though_its_caller_left(load: Load, draw: Draw) -> None:
    """The process need not load again."""
    extractor = load()
    before = process_of(extractor)
    stop = Event()
    stop.set()
    extractor.extract(draw(1, "slow"), stop)
    assert process_of(extractor) == before


def test_half_a_picture_never_reaches_openface(load: Load, draw: Draw) -> None:
    """It would find a face in it, off by 9 pixels, and be sure of it."""
    extractor = load()
    with pytest.raises(Undecodable):
        extractor.extract(draw(1)[:300])


def test_a_picture_that_lies_on_its_side_is_turned(load: Load, encode: Encode, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenFace does not look at EXIF; other pictures go to it as they came."""
    extractor = load()
    fed: list[bytes] = []
    process = extractor._supervisor._current

    def feed(image: bytes, _: object) -> bytes:
        fed.append(image)
        return b"csv"

    monkeypatch.setattr(process, "extract", feed)
    exif = Image.Exif()
    exif[0x0112] = 6
    plain, turned = encode(Image.new("RGB", (30, 20)), "JPEG"), encode(Image.new("RGB", (30, 20)), "JPEG", exif=exif)
    assert [extractor.extract(image) for image in (plain, turned)] == [
        ExtractedFrame(b"csv", 1),
        ExtractedFrame(b"csv", 6),
    ]
    assert fed[0] == plain
    with Image.open(BytesIO(fed[1])) as upright:
        assert (upright.format, upright.size) == ("PNG", (20, 30))


def test_both_generations_are_understood(load: Load, draw: Draw) -> None:
    """2.2 writes no spaces."""
    csv = load("-fake_generation", "2.2").extract(draw(1)).csv
    assert b", " not in csv
    assert read_face(csv, min_confidence=0).confidence == pytest.approx(0.98)


@pytest.mark.parametrize(
    ("flag", "reason"),
    [
        ("-fake_exit_at_start", r"exit status 1.*Couldn't open the model file"),
        ("-fake_few_columns", "11 columns, and not the 679"),
        ("-fake_no_fifos", "Failed to open the video file"),
    ],
)
def test_a_binary_that_does_not_answer_is_refused_at_start(configure: Configure, flag: str, reason: str) -> None:
    """With what it said; TEMP_DIR is as empty as before."""
    settings = configure(flag)
    with pytest.raises(OpenFaceUnusable, match=reason):
        OpenFaceExtractor(settings, FAKE)
    assert list(settings.openface.temp_dir.iterdir()) == []


def test_a_slow_load_is_not_waited_for_for_ever(configure: Configure) -> None:
    """It counts from the start of the process."""
    with pytest.raises(OpenFaceUnusable, match=r"loading OpenFace was not done within 0\.1 s"):
        OpenFaceExtractor(configure("-fake_load", "5", load_timeout_s=0.1), FAKE)


def interrupt(*_: object, **__: object) -> None:
    """Stands in for what waits; Ctrl-C comes to the main thread."""
    raise KeyboardInterrupt


def test_an_interrupted_load_leaves_nothing(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the doctor loads it."""
    monkeypatch.setattr("serve_app.extractors.openface.process.SlotProcess.wait_until_asked", interrupt)
    settings = configure().openface
    with pytest.raises(KeyboardInterrupt):
        WarmProcess(FAKE, settings, None, Patience(5))
    assert list(settings.temp_dir.iterdir()) == []


def test_an_interrupted_wait_for_a_load_leaves_nothing(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    """The load is in a thread of its own, and is given up."""
    settings = configure("-fake_load", "60")
    monkeypatch.setattr("serve_app.extractors.openface.patience.Patience.tick_s", interrupt)
    with pytest.raises(KeyboardInterrupt):
        OpenFaceExtractor(settings, FAKE)
    assert list(settings.openface.temp_dir.iterdir()) == []


def test_a_binary_that_is_gone_makes_frames_fail_and_then_the_health_check(
    load: Load, draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frame waits until a third start has failed; then Serve replaces the replica, too."""
    monkeypatch.setattr("serve_app.extractors.openface.supervisor._MAX_BACKOFF_S", 0.01)
    extractor = load("-fake_starts", str(tmp_path / "starts"), "1")
    failures: list[FrameError] = []

    def is_unhealthy() -> bool:
        try:
            extractor.check()
        except OpenFaceUnusable as exc:
            return "failed to start" in str(exc)
        try:
            extractor.extract(draw(1, "exit"))
        except FrameError as error:
            failures.append(error)
        return False

    wait_until(is_unhealthy)
    assert "does not start at the moment" in str(failures[-1])


def test_the_process_runs_on_its_own_core(load: Load) -> None:
    """More threads than one would only spin."""
    assert len(os.sched_getaffinity(process_of(load()))) == 1


def test_unpinned_is_unpinned(load: Load) -> None:
    """For a machine that places its processes itself."""
    extractor = load(pin_to_core=False)
    assert os.sched_getaffinity(process_of(extractor)) == os.sched_getaffinity(0)


def test_leftovers_of_dead_processes_are_swept_at_start(
    load: Load, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And the log says so."""
    (tmp_path / "temp" / "openface-1-dead").mkdir(parents=True)
    with caplog.at_level("INFO"):
        load()
    assert "removed 1 folders of dead processes" in caplog.text


def test_closing_gives_up_a_load_in_progress(configure: Configure) -> None:
    """A replica stops at once, whatever it was about."""
    extractor = OpenFaceExtractor(configure(), FAKE)
    extractor._settings = configure("-fake_load", "60").openface
    extractor._supervisor._prepare()
    began = time.monotonic()
    extractor.close()
    assert time.monotonic() - began < 5
    assert list(extractor._settings.temp_dir.iterdir()) == []


def test_the_warm_up_pictures_are_pictures(load: Load) -> None:
    """They go the way of any frame."""
    assert load().extract(draw_speck())
