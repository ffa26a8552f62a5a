"""The service against other designs of it, all with the same extractor and model.

    python -m benchmarks.comparison [--quick] [--json]

In each round every design is started, timed and stopped, a bare process per core being timed right before: so none
shares the machine with another, and a machine that slows down meets them all. BentoML and LitServe are installed in an
environment of their own, on the first run. With OPENFACE_BINARY set, the sketch is timed with the real OpenFace too.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Protocol

import requests

from benchmarks.bare import Workers, bare_workers
from benchmarks.designs.environment import environment_python
from benchmarks.load import CONFIG, START_TIMEOUT_S, Outcome, Post, demo_frames, drive, percentile_ms, service_of
from benchmarks.processes import child_running, pss_by_role
from benchmarks.report import Benchmark, Table, run_alone, table
from serve_app.addresses import free_port
from serve_app.settings import OpenFaceSettings, cache_dir

ROOT = Path(__file__).parents[1]
N_ROUNDS = 5
N_BARE_REQUESTS = 16
CLIENTS = (1, 8)
N_REQUESTS = (16, 96)  # of all clients together, by their number
SKETCH_FRAMES = 1  # a second or more each, OpenFace 4 to 8
N_SKETCH_REQUESTS = (4, 24)
_POLL_S = 0.2
_STOP_TIMEOUT_S = 20


class Running(Protocol):
    """A server that runs: where, and as which process."""

    @property
    def url(self) -> str:
        """Its base URL."""
        ...

    @property
    def pid(self) -> int:
        """The process at the root of all of its own."""
        ...


@dataclass(frozen=True)
class Server:
    """A server of this benchmark's."""

    url: str
    pid: int


@dataclass(frozen=True)
class Design:
    """A way to write the service: its name, the command that starts it (``{port}`` in it), and what is sent to it."""

    name: str
    command: tuple[str, ...]
    health: str = "/health"
    n_frames: int = 30
    n_requests: tuple[int, ...] = N_REQUESTS
    n_warming: int = 2 * CLIENTS[-1]  # requests until all its workers have loaded everything


OURS = Design("this service", ())


@dataclass(frozen=True)
class Round:
    """What one design did in one round, at each number of ``CLIENTS``; the bare loop's frames/s right before."""

    bare_frames_per_s: float
    outcomes: tuple[Outcome, ...]
    memory_pss_mb: float


@dataclass(frozen=True)
class Comparison:
    """Medians of one design at some number of clients."""

    design: str
    clients: int
    frames_per_request: int
    frames_per_s: float
    frames_per_s_over_bare: float
    frames_per_s_over_ours: float
    p50_ms: float
    p99_ms: float
    memory_pss_mb: float


def measure(*, quick: bool) -> Iterator[Comparison]:
    """Time the service and the other designs, all of them in each round."""
    entrants = [OURS, *designs()]
    with bare_workers() as workers:
        workers.by_chunk(demo_frames(), N_BARE_REQUESTS)  # not counted: the first work starts them
        rounds = [
            {design.name: _round(design, workers) for design in entrants[:: -1 if number % 2 else 1]}
            for number in range(1 if quick else N_ROUNDS)  # to and fro: a drift of the machine meets all
        ]
    ours = [entry[OURS.name] for entry in rounds]
    for design in entrants:
        for index in range(len(CLIENTS)):
            yield _comparison(design, index, [entry[design.name] for entry in rounds], ours)


def tables(quick: bool) -> tuple[Table, ...]:
    """Measure, and lay out."""
    return (table("At 1 and at 8 clients:", list(measure(quick=quick))),)


def designs() -> list[Design]:
    """All designs but our own; makes the environment of those that need one."""
    python, guest = sys.executable, str(environment_python())
    sketch = partial(Design, n_frames=SKETCH_FRAMES, n_requests=N_SKETCH_REQUESTS, n_warming=1)
    sequential = (python, "-m", "benchmarks.designs.sequential", "{port}")
    openface = [sketch("sketch, OpenFace", (*sequential, "openface"))] if OpenFaceSettings().binary else []
    bento = (guest, "-m", "bentoml", "serve", "benchmarks.designs.bento:Deepfake", "--host", "127.0.0.1")
    return [
        Design("FastAPI + process pool", (python, "-m", "benchmarks.designs.pool", "{port}")),
        Design("BentoML", (*bento, "--port", "{port}", "--working-dir", str(ROOT)), health="/readyz"),
        Design("LitServe", (guest, "-m", "benchmarks.designs.lit", "{port}")),
        sketch("sketch, face mesh", (*sequential, "facemesh")),
        *openface,
    ]


def _round(design: Design, workers: Workers) -> Round:
    frames = demo_frames()
    bare = workers.by_chunk(frames, N_BARE_REQUESTS)
    with _service() if design is OURS else _started(design) as server:
        post = Post(server.url, frames[: design.n_frames])
        drive(post, n_clients=CLIENTS[-1], n_requests=design.n_warming)
        outcomes = tuple(
            drive(post, n_clients=n_clients, n_requests=n_requests)
            for n_clients, n_requests in zip(CLIENTS, design.n_requests, strict=True)
        )
        memory_pss_mb = sum(size for sizes in pss_by_role(server.pid).values() for size in sizes)
    return Round(bare.frames_per_s, outcomes, memory_pss_mb)


def _comparison(design: Design, index: int, rounds: Sequence[Round], ours: Sequence[Round]) -> Comparison:
    n_clients = CLIENTS[index]
    outcomes = [entry.outcomes[index] for entry in rounds]
    rates = [outcome.steady_frames_per_s(n_clients) for outcome in outcomes]
    our_rates = [entry.outcomes[index].steady_frames_per_s(n_clients) for entry in ours]
    replies = [reply for outcome in outcomes for reply in outcome.replies]
    return Comparison(
        design=design.name,
        clients=n_clients,
        frames_per_request=design.n_frames,
        frames_per_s=median(rates),
        frames_per_s_over_bare=median(
            rate / entry.bare_frames_per_s for rate, entry in zip(rates, rounds, strict=True)
        ),
        frames_per_s_over_ours=median(rate / our_rate for rate, our_rate in zip(rates, our_rates, strict=True)),
        p50_ms=percentile_ms(replies, 50),
        p99_ms=percentile_ms(replies, 99),
        memory_pss_mb=median(entry.memory_pss_mb for entry in rounds),
    )


@contextmanager
def _service() -> Iterator[Server]:
    with service_of(CONFIG) as url:
        yield Server(url, child_running("deployments.run"))


@contextmanager
def _started(design: Design) -> Iterator[Server]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # a process per core
    quiet = {"BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(cache_dir() / "designs" / "bentoml")}
    log = cache_dir() / "designs.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - own argv
            [argument.format(port=port) for argument in design.command],
            env={**os.environ, **one_thread, **quiet, "PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _await_answer(process, f"{url}{design.health}", design.name, log)
            yield Server(url, process.pid)
        finally:
            _stop(process)


def _await_answer(process: "subprocess.Popen[bytes]", url: str, name: str, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"{name} ended with status {process.returncode} before it answered; see {log}")
        try:
            if requests.get(url, timeout=5).ok:
                return
        except requests.RequestException:
            pass
        time.sleep(_POLL_S)
    sys.exit(f"{name} did not answer at {url} within {START_TIMEOUT_S:g} s; see {log}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_TIMEOUT_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # LitServe's workers outlive it
    process.wait()


BENCHMARK = Benchmark(
    name="designs",
    title="Other designs",
    meaning="""
The same frames, extractor and model, served in the ways one would write instead: FastAPI over a pool of processes,
which splits a request's frames among them; BentoML and LitServe with a worker a core, each of which scores whole
requests, so that one client keeps one core busy; and the sketch this project began with, which starts a program for
each frame, one after the other. Each is one file of `benchmarks/designs/`. None of them admits, cancels, retries or
scales beyond its machine. In each round all of them are started, timed and stopped, one after the other, in every other
round the last one first; a ratio is the median of those of the rounds. Frames/s are those while all clients had a
request under way. `bare` is a process per core that extracts in chunks and does nothing else, timed before each start.
Memory is the proportional set size of all processes; Ray's are a large part of ours.
""",
    tables=tables,
)

if __name__ == "__main__":
    run_alone(BENCHMARK, __doc__)
