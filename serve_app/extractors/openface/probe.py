"""Trying the binary out: which generation it is, and what it costs here."""

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from serve_app.extractors.openface.cores import claim_core
from serve_app.extractors.openface.patience import LOADING, Patience
from serve_app.extractors.openface.portrait import draw_face
from serve_app.extractors.openface.row import Generation
from serve_app.extractors.openface.warm import WarmProcess
from serve_app.settings import OpenFaceSettings

_N_FRAMES = 5
_N_WARM_UP = 2  # a process's own


@dataclass(frozen=True)
class Probe:
    """What a FeatureExtraction binary showed; ``frame_ms`` is the median of a drawn face of 320 x 320 px."""

    generation: Generation
    load_s: float
    frame_ms: float
    n_threads: int
    n_columns: int


def probe(binary: Path, settings: OpenFaceSettings) -> Probe:
    """Start the binary as an extractor does, and time it.

    Raises:
        OpenFaceUnusable: it does not start as an extractor does.
        FrameError: it started, and then failed on a frame.
    """
    settings = settings.model_copy(update={"slots": _N_FRAMES + _N_WARM_UP})
    core = claim_core() if settings.pin_to_core else None
    try:
        process = WarmProcess(
            binary, settings, core.core if core else None, Patience(settings.load_timeout_s, what=LOADING)
        )
        try:
            return _measure(process, settings)
        finally:
            process.close()
    finally:
        if core is not None:
            core.release()


def _measure(process: WarmProcess, settings: OpenFaceSettings) -> Probe:
    times_ms = []
    for _ in range(_N_FRAMES):
        n_threads = _count_threads(process.pid)  # now, for the process ends by itself after the last frame
        began = time.monotonic()
        csv = process.extract(draw_face(), Patience(settings.frame_timeout_s))
        times_ms.append(1000 * (time.monotonic() - began))
    return Probe(
        generation=process.generation,
        load_s=process.load_s,
        frame_ms=statistics.median(times_ms),
        n_threads=n_threads,
        n_columns=csv.partition(b"\n")[0].count(b",") + 1,
    )


def _count_threads(pid: int) -> int:
    """Count a process's threads; 0 where /proc is absent."""
    try:
        return len(list(Path(f"/proc/{pid}/task").iterdir()))
    except OSError:
        return 0
