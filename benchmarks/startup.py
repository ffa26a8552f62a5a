"""How long the service takes to start, and what it costs while nobody asks anything.

python -m benchmarks.startup [--quick] [--json]
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.load import CONFIG, Post, demo_frames, service_of
from benchmarks.processes import child_running, cost, cpu_by_role, pss_by_role
from benchmarks.report import Benchmark, Table, run_alone, table

N_STARTS = 5
IDLE_S = 20.0


@dataclass(frozen=True)
class Start:
    """Medians over the starts: until /readyz, until the first request was answered, and what idling takes."""

    starts: int
    ready_s: float
    slowest_ready_s: float
    first_request_s: float
    idle_pss_mb: float
    idle_cores: float


@dataclass(frozen=True)
class Idle:
    """One kind of process, idle, after the last start."""

    process: str
    processes: int
    pss_mb: float
    idle_cpu_ms_per_s: float


@dataclass(frozen=True)
class Sample:
    """One start."""

    ready_s: float
    first_request_s: float
    pss_mb: Mapping[str, list[float]]
    cpu_s: Counter[str]
    idle_s: float

    @property
    def total_pss_mb(self) -> float:
        """Of all processes."""
        return sum(size for sizes in self.pss_mb.values() for size in sizes)


def measure(*, quick: bool) -> list[Sample]:
    """Start and stop the service."""
    return [_sample(IDLE_S / 4 if quick else IDLE_S) for _ in range(1 if quick else N_STARTS)]


def tables(quick: bool) -> tuple[Table, ...]:
    """Measure, and lay out."""
    samples = measure(quick=quick)
    return (
        table("From the command to the first answer:", [_start(samples)]),
        table("Idle, by process:", _idle(samples[-1])),
    )


def _sample(idle_s: float) -> Sample:
    frames = demo_frames()
    began = time.perf_counter()
    with service_of(CONFIG) as url:
        ready_s = time.perf_counter() - began
        first_request_s = Post(url, frames)().elapsed_s
        service = child_running("deployments.run")
        before = cost(service)
        time.sleep(idle_s)
        after = cost(service)
        return Sample(
            ready_s, first_request_s, pss_by_role(service), cpu_by_role(before, after), after.taken_s - before.taken_s
        )


def _start(samples: Sequence[Sample]) -> Start:
    return Start(
        starts=len(samples),
        ready_s=median(sample.ready_s for sample in samples),
        slowest_ready_s=max(sample.ready_s for sample in samples),
        first_request_s=median(sample.first_request_s for sample in samples),
        idle_pss_mb=median(sample.total_pss_mb for sample in samples),
        idle_cores=median(sum(sample.cpu_s.values()) / sample.idle_s for sample in samples),
    )


def _idle(sample: Sample) -> list[Idle]:
    return [
        Idle(role, len(sizes), sum(sizes), 1000 * sample.cpu_s[role] / sample.idle_s)
        for role, sizes in sorted(sample.pss_mb.items(), key=lambda item: -sum(item[1]))
    ]


BENCHMARK = Benchmark(
    name="startup",
    title="Start-up and idling",
    meaning="""
`configs/dev.yaml` with a Ray of its own: from the command until `/readyz` says 200, then one request of 30 frames, then
nothing for 20 seconds. Memory is the proportional set size, in which shared pages count in shares; `others` are Ray's
own daemons and agents, and workers that it keeps for the next task.
""",
    tables=tables,
)

if __name__ == "__main__":
    run_alone(BENCHMARK, __doc__)
