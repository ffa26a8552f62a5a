"""A step of load on one extractor: how long until there are twice as many, and whether a frame is lost.

python -m benchmarks.autoscaling [--quick] [--json]
"""

import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from statistics import median

import requests

from benchmarks.configs import changed, options_of, with_options
from benchmarks.load import Post, Reply, demo_frames, percentile_ms, service_of
from benchmarks.report import Benchmark, Table, run_alone, table

N_STEPS = 5
N_CLIENTS = 8
MAX_REPLICAS = 4
STEP_TIMEOUT_S = 120.0
AFTER_S = 10.0  # of load on the doubled service
_POLL_S = 0.25


@dataclass(frozen=True)
class Step:
    """One step of load from idle."""

    doubled_s: float
    frames_sent: int
    frames_scored: int
    p99_before_ms: float
    p99_after_ms: float


@dataclass(frozen=True)
class Autoscaling:
    """All steps: medians, but the frames, which are summed."""

    steps: int
    clients: int
    doubled_s: float
    slowest_doubled_s: float
    frames_sent: int
    frames_lost: int
    p99_before_ms: float
    p99_after_ms: float


def measure(*, quick: bool) -> list[Step]:
    """Start the service anew for each step, for scaling down again takes minutes.

    Raises:
        TimeoutError: the replicas did not double.
    """
    return [_step() for _ in range(1 if quick else N_STEPS)]


def tables(quick: bool) -> tuple[Table, ...]:
    """Measure, and lay out."""
    steps = measure(quick=quick)
    row = Autoscaling(
        steps=len(steps),
        clients=N_CLIENTS,
        doubled_s=median(step.doubled_s for step in steps),
        slowest_doubled_s=max(step.doubled_s for step in steps),
        frames_sent=sum(step.frames_sent for step in steps),
        frames_lost=sum(step.frames_sent - step.frames_scored for step in steps),
        p99_before_ms=median(step.p99_before_ms for step in steps),
        p99_after_ms=median(step.p99_after_ms for step in steps),
    )
    return (table("From one extractor to two:", [row]),)


def _step() -> Step:
    frames = demo_frames()
    stop = threading.Event()
    with _service() as url, ThreadPoolExecutor(N_CLIENTS) as clients:
        post = Post(url, frames)
        post()  # loads what is loaded late
        began = time.perf_counter()
        sending = [clients.submit(_send_until, stop, post) for _ in range(N_CLIENTS)]
        try:
            doubled_s = _await_replicas(url, 2) - began
            stop.wait(AFTER_S)
        finally:
            stop.set()
        replies = list(chain.from_iterable(client.result() for client in sending))
    before = [reply for reply in replies if reply.came_s - began < doubled_s]
    after = [reply for reply in replies if reply.came_s - began >= doubled_s]
    return Step(
        doubled_s=doubled_s,
        frames_sent=len(frames) * len(replies),
        frames_scored=sum(reply.scored_frames for reply in replies),
        p99_before_ms=percentile_ms(before, 99),
        p99_after_ms=percentile_ms(after, 99),
    )


def _send_until(stop: threading.Event, post: Post) -> list[Reply]:
    """Send, one after the other; a request that fails ends the benchmark."""
    replies = []
    while not stop.is_set():
        replies.append(post())
    return replies


def _await_replicas(url: str, wanted: int) -> float:
    """Return when there were that many extractors."""
    deadline = time.perf_counter() + STEP_TIMEOUT_S
    while (now := time.perf_counter()) < deadline:
        if requests.get(f"{url}/health", timeout=30).json()["replicas"]["Extractor"] >= wanted:
            return now
        time.sleep(_POLL_S)
    raise TimeoutError(f"there were not {wanted} extractors within {STEP_TIMEOUT_S:g} s of load")


@contextmanager
def _service() -> Iterator[str]:
    scaling = {**options_of("prod.yaml", "Extractor")["autoscaling_config"], "max_replicas": MAX_REPLICAS}
    with tempfile.TemporaryDirectory(prefix="autoscaling-") as folder:
        options = with_options("Extractor", autoscaling_config=scaling, ray_actor_options={"num_cpus": 0.25})
        config = changed("dev.yaml", Path(folder), options)
        with service_of(config) as url:
            yield url


BENCHMARK = Benchmark(
    name="autoscaling",
    title="Autoscaling",
    meaning="""
One extractor, `configs/prod.yaml`'s targets and delays, no load; then 8 clients at once, who each send 30 frames, wait,
and send again. `doubled` is the time from the first of these until a second extractor runs, its start of several
seconds included. A frame is lost if it was sent and not scored. On two cores the second extractor is also the last that
can help.
""",
    tables=tables,
)

if __name__ == "__main__":
    run_alone(BENCHMARK, __doc__)
