"""The OpenFace extractor on a real binary, against what that binary wrote for the golden frames.

    OPENFACE_BINARY=... pytest -m openface tests/e2e

The golden CSVs were computed by OpenBLAS' AVX-512 kernels; others differ from them in the last digit. On a CPU
without AVX-512 the frames are compared with a cold run of the binary that is there.
"""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from threading import Event, Timer

import pytest
from PIL import Image

from serve_app.addresses import free_port
from serve_app.client import BatchDeepfakeClient
from serve_app.errors import ExtractionFailed, FrameError, FrameTimeout
from serve_app.extractors.openface.cold import ColdExtractor
from serve_app.extractors.openface.extractor import OpenFaceExtractor
from serve_app.extractors.openface.folders import sweep
from serve_app.extractors.openface.warm import WarmProcess
from serve_app.extractors.worker import ExtractionWorker
from serve_app.features.table import read_face, write_face
from serve_app.frames import ExtractedFrame
from serve_app.launcher import running_service
from serve_app.settings import ExtractorSettings, LaunchSettings, OpenFaceSettings

pytestmark = pytest.mark.openface

GOLDEN = Path(__file__).parents[2].parent / "shared" / "golden"
CONFIG = Path(__file__).parents[2] / "configs" / "openface.yaml"
NO_FACE = write_face({"frame": 1})

OWNER = """
import sys, time
from pathlib import Path
from serve_app.extractors.openface import command
from serve_app.extractors.openface.extractor import OpenFaceExtractor
from serve_app.settings import ExtractorSettings, OpenFaceSettings
if sys.argv[2] == "without setpriv":
    command._dies_with_parent = tuple
settings = ExtractorSettings(openface=OpenFaceSettings(temp_dir=Path(sys.argv[1])))
extractor = OpenFaceExtractor(settings, command.find_binary(settings.openface))
print(extractor._supervisor._current.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def binary() -> Path:
    """The real binary; its own environment is fixed before any process is started."""
    binary = OpenFaceSettings().binary
    if binary is None:
        pytest.skip("OPENFACE_BINARY is not set")
    if not GOLDEN.is_dir():
        pytest.skip(f"{GOLDEN} is absent: it is not part of the repository")
    return binary


@pytest.fixture(scope="module", autouse=True)
def golden_kernels() -> Iterator[bool]:
    """Have OpenBLAS compute as it did for the golden CSVs, if this CPU can."""
    has_avx512 = "avx512f" in Path("/proc/cpuinfo").read_text()
    with pytest.MonkeyPatch.context() as patch:
        if has_avx512:
            patch.setenv("OPENBLAS_CORETYPE", "SkylakeX")
        yield has_avx512


@pytest.fixture(scope="module")
def frames() -> list[bytes]:
    """The 30 golden frames."""
    return [path.read_bytes() for path in sorted((GOLDEN / "image_sequence" / "frames").iterdir())]


@pytest.fixture(scope="module")
def csvs(
    binary: Path, frames: list[bytes], golden_kernels: bool, tmp_path_factory: pytest.TempPathFactory
) -> list[bytes]:
    """What OpenFace wrote for them."""
    if golden_kernels:
        return [path.read_bytes() for path in sorted((GOLDEN / "image_sequence" / "csv").iterdir())]
    cold = ColdExtractor(settings_for(tmp_path_factory.mktemp("cold")), binary)
    outcomes = cold.extract_chunk(frames)
    cold.close()
    return csvs_of(outcomes)


@pytest.fixture(scope="module")
def extractor(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenFaceExtractor]:
    """One warm extractor for the tests that leave it as it is."""
    settings = settings_for(tmp_path_factory.mktemp("warm"))
    warm = OpenFaceExtractor(settings, binary)
    yield warm
    warm.close()
    assert list(settings.openface.temp_dir.iterdir()) == []


def csvs_of(outcomes: list[ExtractedFrame | FrameError]) -> list[bytes]:
    return [outcome.csv for outcome in outcomes if isinstance(outcome, ExtractedFrame)]


def settings_for(temp_dir: Path, **options: object) -> ExtractorSettings:
    return ExtractorSettings(openface=OpenFaceSettings.model_validate({"temp_dir": temp_dir, **options}))


def process_of(extractor: OpenFaceExtractor) -> int:
    process = extractor._supervisor._current
    assert isinstance(process, WarmProcess)
    return process.pid


def wait_until(condition: Callable[[], bool], *, timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_warm_csvs_are_byte_identical(extractor: OpenFaceExtractor, frames: list[bytes], csvs: list[bytes]) -> None:
    """In the order of the video."""
    assert [extractor.extract(frame).csv for frame in frames] == csvs


def test_the_order_of_frames_does_not_matter(
    extractor: OpenFaceExtractor, frames: list[bytes], csvs: list[bytes]
) -> None:
    """A frame's CSV holds nothing of the frames before it."""
    shuffled = random.Random(3).sample(range(len(frames)), len(frames))
    assert [extractor.extract(frames[index]).csv for index in shuffled] == [csvs[index] for index in shuffled]


def test_three_hundred_frames_in_one_life_do_not_drift(
    extractor: OpenFaceExtractor, frames: list[bytes], csvs: list[bytes]
) -> None:
    """The same process, the same bytes."""
    before = process_of(extractor)
    for _ in range(10):
        assert [extractor.extract(frame).csv for frame in frames] == csvs
    assert process_of(extractor) == before


def test_frames_without_a_face_are_reported_as_such(extractor: OpenFaceExtractor, frames: list[bytes]) -> None:
    """Before and after one with a face."""
    faceless = sorted((GOLDEN / "noface" / "frames").iterdir())
    for path in (*faceless, *faceless):
        assert extractor.extract(path.read_bytes()).csv == NO_FACE, path.name
        assert extractor.extract(frames[0]).csv != NO_FACE


def test_a_phone_photo_is_turned_upright(extractor: OpenFaceExtractor, frames: list[bytes]) -> None:
    """Without its EXIF OpenFace finds nobody in it."""
    with Image.open(BytesIO(frames[0])) as frame:
        lying = frame.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    plain, tagged = BytesIO(), BytesIO()
    lying.save(plain, "PNG")
    lying.save(tagged, "PNG", exif=exif)
    assert extractor.extract(plain.getvalue()).csv == NO_FACE
    turned = extractor.extract(tagged.getvalue())
    assert turned.orientation == 6
    assert read_face(turned.csv, min_confidence=0.9)


def test_of_a_file_of_several_pictures_the_first_is_scored(
    binary: Path, extractor: OpenFaceExtractor, frames: list[bytes], csvs: list[bytes], tmp_path: Path
) -> None:
    """As phones write them; warm and cold, and the frame after it is as ever."""
    chunk = [frames[0] + frames[15], frames[1]]
    assert [extractor.extract(frame).csv for frame in chunk] == csvs[:2]
    cold = ColdExtractor(settings_for(tmp_path), binary)
    assert csvs_of(cold.extract_chunk(chunk)) == csvs[:2]
    cold.close()


def test_an_idle_process_stays_warm(extractor: OpenFaceExtractor, frames: list[bytes], csvs: list[bytes]) -> None:
    """OpenCV gives up a file that takes more than 30 s to open, and OpenFace would end."""
    before, began = process_of(extractor), time.monotonic()
    wait_until(lambda: time.monotonic() - began > 35, timeout_s=40)
    assert extractor.extract(frames[0]).csv == csvs[0]
    assert process_of(extractor) == before


@pytest.mark.parametrize("frames_per_call", [1, 4, 30])
def test_several_workers_and_requests_make_no_difference(
    binary: Path, frames: list[bytes], csvs: list[bytes], tmp_path: Path, frames_per_call: int
) -> None:
    """Two replicas on one TEMP_DIR, in calls of any size."""
    settings = settings_for(tmp_path)
    workers = [ExtractionWorker(OpenFaceExtractor(settings, binary)) for _ in range(2)]

    async def extract_all() -> list[bytes]:
        starts = range(0, len(frames), frames_per_call)
        calls = [workers[start % 2].extract(frames[start : start + frames_per_call]) for start in starts]
        return [csv for chunk in await asyncio.gather(*calls) for csv in csvs_of(chunk)]

    assert asyncio.run(extract_all()) == csvs
    for worker in workers:
        worker.close()
    assert list(tmp_path.iterdir()) == []


def test_lives_of_a_few_frames_make_no_difference(
    binary: Path, frames: list[bytes], csvs: list[bytes], tmp_path: Path
) -> None:
    """Each process takes eight of them."""
    extractor = OpenFaceExtractor(settings_for(tmp_path, slots=10), binary)
    assert [extractor.extract(frame).csv for frame in frames] == csvs
    extractor.close()


def test_cold_csvs_are_byte_identical(binary: Path, frames: list[bytes], csvs: list[bytes], tmp_path: Path) -> None:
    """Where there are no FIFOs."""
    cold = ColdExtractor(settings_for(tmp_path), binary)
    assert csvs_of(cold.extract_chunk(frames)) == csvs
    cold.close()


def test_a_kill_in_the_middle_costs_one_frame(
    binary: Path, frames: list[bytes], csvs: list[bytes], tmp_path: Path
) -> None:
    """The other 29 are answered, and the next process is at work within its load time."""
    began = time.monotonic()
    extractor = OpenFaceExtractor(settings_for(tmp_path), binary)
    load_s = time.monotonic() - began
    answered: list[bytes] = []
    for index, frame in enumerate(frames):
        if index == 7:
            Timer(0.02, os.kill, (process_of(extractor), signal.SIGKILL)).start()
            with pytest.raises(ExtractionFailed, match="SIGKILL"):
                extractor.extract(frame)
            killed = time.monotonic()
            continue
        answered.append(extractor.extract(frame).csv)
        if index == 8:
            assert time.monotonic() - killed < 3 * load_s + 1
    extractor.close()
    assert answered == csvs[:7] + csvs[8:]


def test_a_process_that_stands_still_is_replaced(binary: Path, frames: list[bytes], tmp_path: Path) -> None:
    """At the frame's deadline, or two seconds after its caller left."""
    extractor = OpenFaceExtractor(settings_for(tmp_path, frame_timeout_s=4), binary)
    os.kill(process_of(extractor), signal.SIGSTOP)
    with pytest.raises(FrameTimeout):
        extractor.extract(frames[0])
    assert extractor.extract(frames[0]).csv != NO_FACE
    os.kill(process_of(extractor), signal.SIGSTOP)
    stop = Event()
    stop.set()
    began = time.monotonic()
    with pytest.raises(ExtractionFailed, match="caller left"):
        extractor.extract(frames[0], stop)
    assert time.monotonic() - began < 2
    extractor.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("way", ["with setpriv", "without setpriv"])
def test_no_process_outlives_a_killed_replica(binary: Path, tmp_path: Path, way: str) -> None:
    """The kernel ends it, or else the sweep of the next replica; nothing of it stays in TEMP_DIR."""
    owner = subprocess.Popen(  # noqa: S603 - own argv, no shell
        [sys.executable, "-c", OWNER, str(tmp_path), way], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    child = Path("/proc") / owner.stdout.readline().strip()
    owner.kill()
    owner.wait()
    owner.stdout.close()
    assert sweep(tmp_path) == 1
    wait_until(lambda: not child.exists() or "\nState:\tZ" in (child / "status").read_text())
    assert list(tmp_path.glob("openface-*")) == []


@pytest.mark.usefixtures("binary")
def test_the_service_keeps_openfaces_own_csvs_and_leaves_nothing_when_it_is_stopped(
    csvs: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All golden frames in one request over HTTP; then SIGTERM."""
    temp_dir = tmp_path / "temp"
    monkeypatch.setenv("TEMP_DIR", str(temp_dir))
    monkeypatch.setenv("OUTPUT_DIR", str(tmp_path / "output"))
    launch = LaunchSettings(host="127.0.0.1", port=free_port())
    with (
        running_service(CONFIG, launch, log=tmp_path / "log", start_timeout_s=240) as url,
        BatchDeepfakeClient(url) as client,
    ):
        answer = client.predict_from_directory(GOLDEN / "image_sequence" / "frames", session_id="s", cleanup=False)
    assert answer["status"] == "success"
    assert [path.read_bytes() for path in sorted(Path(answer["output_dir"]).iterdir())] == csvs
    assert list(temp_dir.iterdir()) == []
