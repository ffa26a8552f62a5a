"""A thousand frames, with processes killed at random."""

import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Timer

import pytest

from serve_app.errors import FrameError
from serve_app.extractors.openface.extractor import OpenFaceExtractor
from serve_app.extractors.openface.warm import WarmProcess
from tests.unit.extractors.openface.conftest import Draw, Load

N_FRAMES = 1000
FAILURES = ("segfault", "exit", "no_csv", "truncated", "hang", "no_face", "stderr_flood", "partial_line")


def count_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def children() -> Iterator[int]:
    """Zombies too."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            _, parent = status.read_text().rpartition(")")[2].split()[:2]
            if int(parent) == os.getpid():
                yield int(status.parent.name)


def kill_soon(extractor: OpenFaceExtractor, chance: random.Random) -> None:
    """Kill the process at work: idle, in the middle of a frame, or between two."""
    process = extractor._supervisor._current
    if isinstance(process, WarmProcess) and process.is_alive():
        Timer(chance.choice((0, 0.0005, 0.002)), kill, (process,)).start()


def kill(process: WarmProcess) -> None:
    if process.is_alive():  # not reaped yet: the id is still its own
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts processes and descriptors in /proc")
def test_a_thousand_frames_with_random_kills(load: Load, draw: Draw) -> None:
    """Every frame is answered or has a reason; no process, file or descriptor is left."""
    chance = random.Random(11)
    children_before = set(children())  # of other tests: Ray's
    extractor = load(slots=60, frame_timeout_s=0.3)
    outcomes: Counter[str] = Counter()
    descriptors = []
    for number in range(N_FRAMES):
        if chance.random() < 0.03:
            kill_soon(extractor, chance)
        failure = chance.choice(FAILURES) if chance.random() < 0.03 else ""
        try:
            outcomes["answered"] += extractor.extract(draw(number, failure)).csv.startswith(b"frame, ")
        except FrameError as error:
            outcomes["failed"] += bool(str(error))
        if number % 100 == 99:
            descriptors.append(count_descriptors())
    assert outcomes.total() == N_FRAMES
    assert outcomes["failed"] < 0.06 * N_FRAMES
    assert max(descriptors) - min(descriptors) <= 10  # one process more or less
    extractor.close()
    assert set(children()) <= children_before
