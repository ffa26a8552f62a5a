"""The yardstick: the extractor alone in a process per core, as in a loop that a user would write."""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from serve_app.extractors.facemesh.extractor import FaceMeshExtractor
from serve_app.settings import ExtractorSettings

CHUNK = 15  # frames a call, as a request of 30 is cut for two replicas

_extractor: FaceMeshExtractor | None = None


@dataclass(frozen=True)
class Pace:
    """How fast all bare workers were together: frames a second, and CPU milliseconds of a frame."""

    frames_per_s: float
    cpu_ms_per_frame: float


class Workers:
    """A bare process for each core."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def by_frame(self, frames: Sequence[bytes], n_requests: int) -> Pace:
        """Extract frame by frame, the frames ``n_requests`` times over."""
        return self._pace(_by_frame, frames, n_requests)

    def by_chunk(self, frames: Sequence[bytes], n_requests: int) -> Pace:
        """Extract in chunks of ``CHUNK``, the frames ``n_requests`` times over."""
        return self._pace(_by_chunk, frames, n_requests)

    def _pace(self, work: Callable[[Sequence[bytes]], float], frames: Sequence[bytes], n_requests: int) -> Pace:
        n_frames = len(frames) * n_requests
        began = time.perf_counter()
        cpu_s = sum(self._pool.map(work, [frames] * n_requests))
        return Pace(n_frames / (time.perf_counter() - began), 1000 * cpu_s / n_frames)


@contextmanager
def bare_workers() -> Iterator[Workers]:
    """Start a worker for each core this process may use."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as Ray does it in its own workers: threads would only spin
    spawn = multiprocessing.get_context("spawn")
    n_cores = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(n_cores, mp_context=spawn, initializer=_load) as pool:
        yield Workers(pool)


def _load() -> None:
    global _extractor  # noqa: PLW0603 - a pool's worker has no other place to keep it
    _extractor = FaceMeshExtractor(ExtractorSettings())


def _by_frame(frames: Sequence[bytes]) -> float:
    return _cpu_s(lambda: [_loaded().extract(frame) for frame in frames])


def _by_chunk(frames: Sequence[bytes]) -> float:
    chunks = [frames[start : start + CHUNK] for start in range(0, len(frames), CHUNK)]
    return _cpu_s(lambda: [_loaded().extract_chunk(chunk) for chunk in chunks])


def _cpu_s(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _loaded() -> FaceMeshExtractor:
    if _extractor is None:
        raise RuntimeError("the worker was started without its initializer")
    return _extractor
