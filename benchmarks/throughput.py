"""The service over HTTP at 1 to 8 clients, against the same extractor in a bare process per core.

    python -m benchmarks.throughput [--quick] [--json]

Starts the service of ``configs/dev.yaml`` with a Ray of its own. Each round times the bare loops and then the service
at each number of clients, all on the demo's 30 frames; ratios are taken within a round.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.bare import Pace, Workers, bare_workers
from benchmarks.load import CONFIG, Outcome, Post, Reply, Size, demo_frames, drive, percentile_ms, service_of
from benchmarks.processes import child_running, cost, cpu_by_role
from benchmarks.report import Benchmark, Table, run_alone, table

SIZES: tuple[Size, ...] = ((640, 480), (1920, 1080))
CLIENTS = (1, 2, 4, 8)
N_REQUESTS = 16  # of each way in each round, and four of each client, for the start and the end are slower
N_ROUNDS = 5


@dataclass(frozen=True)
class Bare:
    """The two bare loops: frame by frame, and in chunks as the service extracts them."""

    frame_size: str
    by_frame_frames_per_s: float
    by_chunk_frames_per_s: float
    by_frame_cpu_ms: float
    by_chunk_cpu_ms: float


@dataclass(frozen=True)
class Throughput:
    """The service at some number of clients; ``ideal`` latency is 30 frames over the bare chunks' frames/s."""

    frame_size: str
    clients: int
    frames_per_s: float
    http_over_bare_by_frame: float
    http_over_bare_by_chunk: float
    p50_ms: float
    p99_ms: float
    p50_over_ideal: float
    cpu_ms_per_frame: float
    overhead_cpu_ms_per_frame: float


@dataclass(frozen=True)
class RoleCpu:
    """CPU milliseconds a frame costs in one kind of process, with the most clients."""

    frame_size: str
    process: str
    cpu_ms_per_frame: float


@dataclass(frozen=True)
class Served:
    """What the service did in one round at some number of clients, and the CPU seconds it took by process."""

    outcome: Outcome
    cpu_s: Counter[str]

    @property
    def cpu_ms_per_frame(self) -> float:
        """Of all the service's processes."""
        return 1000 * sum(self.cpu_s.values()) / self.outcome.scored_frames


@dataclass(frozen=True)
class Round:
    """The bare loops, then the service at each number of clients."""

    by_frame: Pace
    by_chunk: Pace
    served: tuple[Served, ...]


@dataclass(frozen=True)
class Measurement:
    """All counted rounds at one frame size."""

    frame_size: str
    n_frames: int
    clients: tuple[int, ...]
    rounds: tuple[Round, ...]


def measure(*, quick: bool) -> list[Measurement]:
    """Start service and bare workers, and time them in turn; the first round, which warms up, is not counted."""
    n_rounds, n_requests, clients = (1, 4, (1, 4)) if quick else (N_ROUNDS, N_REQUESTS, CLIENTS)
    with service_of(CONFIG) as url, bare_workers() as workers:
        contest = _Contest(workers, child_running("deployments.run"), clients, n_requests)
        measurements = []
        for size in SIZES:
            frames = demo_frames(size)
            post = Post(url, frames)
            rounds = [contest.round(post, frames) for _ in range(n_rounds + 1)]
            measurements.append(Measurement(f"{size[0]}x{size[1]}", len(frames), clients, tuple(rounds[1:])))
    return measurements


def tables(quick: bool) -> tuple[Table, ...]:
    """Measure, and lay out."""
    measurements = measure(quick=quick)
    return (
        table("The bare loops, a process per core:", [bare(measurement) for measurement in measurements]),
        table("The service:", [row for measurement in measurements for row in throughput(measurement)]),
        table(
            "CPU of a frame by process, at the most clients:", [row for entry in measurements for row in by_role(entry)]
        ),
    )


def bare(measurement: Measurement) -> Bare:
    """Medians of the bare loops."""
    by_frame = [entry.by_frame for entry in measurement.rounds]
    by_chunk = [entry.by_chunk for entry in measurement.rounds]
    return Bare(
        measurement.frame_size,
        median(pace.frames_per_s for pace in by_frame),
        median(pace.frames_per_s for pace in by_chunk),
        median(pace.cpu_ms_per_frame for pace in by_frame),
        median(pace.cpu_ms_per_frame for pace in by_chunk),
    )


def throughput(measurement: Measurement) -> list[Throughput]:
    """Medians of the service, a row for each number of clients."""
    return [
        _throughput(measurement, n_clients, [(entry, entry.served[index]) for entry in measurement.rounds])
        for index, n_clients in enumerate(measurement.clients)
    ]


def by_role(measurement: Measurement) -> list[RoleCpu]:
    """Median CPU of a frame by role, the costliest first."""
    served = [entry.served[-1] for entry in measurement.rounds]
    roles = {role for entry in served for role in entry.cpu_s}
    costs = {role: median(1000 * entry.cpu_s[role] / entry.outcome.scored_frames for entry in served) for role in roles}
    return [RoleCpu(measurement.frame_size, role, costs[role]) for role in sorted(roles, key=lambda role: -costs[role])]


@dataclass(frozen=True)
class _Contest:
    """The two sides, and how much each has to do in a round."""

    workers: Workers
    service_pid: int
    clients: tuple[int, ...]
    n_requests: int

    def round(self, post: Post, frames: Sequence[bytes]) -> Round:
        """Time each way once."""
        by_frame = self.workers.by_frame(frames, self.n_requests)
        by_chunk = self.workers.by_chunk(frames, self.n_requests)
        return Round(by_frame, by_chunk, tuple(self._serve(post, n_clients) for n_clients in self.clients))

    def _serve(self, post: Post, n_clients: int) -> Served:
        before = cost(self.service_pid)
        outcome = drive(post, n_clients=n_clients, n_requests=max(self.n_requests, 4 * n_clients))
        return Served(outcome, cpu_by_role(before, cost(self.service_pid)))


def _throughput(measurement: Measurement, n_clients: int, pairs: Sequence[tuple[Round, Served]]) -> Throughput:
    replies: list[Reply] = [reply for _, served in pairs for reply in served.outcome.replies]
    return Throughput(
        frame_size=measurement.frame_size,
        clients=n_clients,
        frames_per_s=median(served.outcome.frames_per_s for _, served in pairs),
        http_over_bare_by_frame=median(
            served.outcome.frames_per_s / entry.by_frame.frames_per_s for entry, served in pairs
        ),
        http_over_bare_by_chunk=median(
            served.outcome.frames_per_s / entry.by_chunk.frames_per_s for entry, served in pairs
        ),
        p50_ms=percentile_ms(replies, 50),
        p99_ms=percentile_ms(replies, 99),
        p50_over_ideal=median(
            served.outcome.latency_ms(50) / (1000 * measurement.n_frames / entry.by_chunk.frames_per_s)
            for entry, served in pairs
        ),
        cpu_ms_per_frame=median(served.cpu_ms_per_frame for _, served in pairs),
        overhead_cpu_ms_per_frame=median(
            served.cpu_ms_per_frame - entry.by_chunk.cpu_ms_per_frame for entry, served in pairs
        ),
    )


BENCHMARK = Benchmark(
    name="throughput",
    title="Throughput over HTTP",
    meaning="""
The same 30 frames of a talking head, extracted by the face mesh: by bare processes, one a core, that do nothing else,
frame by frame or in chunks of 15; and by the service of `configs/dev.yaml`, started as `make run` does, which reads
them from a form, extracts, parses and scores them, and answers. A client sends its next request when it has its answer;
clients and service share the cores. `p50 / ideal` is the latency of a request over that of bare chunks on all cores,
which says something at 1 client only. Overhead is the CPU of all the service's processes, Ray's included, less that of
bare chunks.
""",
    tables=tables,
)

if __name__ == "__main__":
    run_alone(BENCHMARK, __doc__)
