"""Scaling over replicas and nodes, with an extractor that sleeps a second for each frame.

    python -m benchmarks.scaling [--quick] [--json]        1 to 30 replicas on 1 to 4 simulated nodes
    python -m benchmarks --only scaling-64                 64 replicas; 8 GB of memory

The nodes are Ray's own, several on this machine: `configs/prod.yaml` with a fixed number of extractors, each of which
has a place on a node to itself.
"""

import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from ray._common.utils import reset_ray_address
from ray.cluster_utils import Cluster

from benchmarks.configs import changed, on_one_machine, with_app, with_extractors
from benchmarks.load import Post, demo_frames, drive, service_of
from benchmarks.processes import end_of_ray, tree
from benchmarks.report import Benchmark, Table, run_alone, table
from serve_app.settings import MAX_FRAMES

ROOT = Path(__file__).parents[1]
FRAME_S = 1.0
START_TIMEOUT_S = 600.0  # a replica's start takes 2.5 s of CPU, and these few cores start 64
N_ROUNDS = 5
FRAMES_UNDER_WAY = 8  # for each replica, in weak scaling: none waits while a client reads its answer and sends again
REQUESTS_PER_CLIENT = 4
STRONG_REPLICAS = MAX_FRAMES
PLACE = "extractor"  # a resource of the nodes that are for extractors


@dataclass(frozen=True)
class Size:
    """How many extractors on how many nodes."""

    replicas: int
    nodes: int


@dataclass(frozen=True)
class Weak:
    """Eight frames under way for each replica, however many there are; ``ideal`` is that none ever waits."""

    replicas: int
    nodes: int
    clients: int
    frames_per_request: int
    frames_per_s: float
    frames_per_s_over_ideal: float


@dataclass(frozen=True)
class Strong:
    """One request of 30 frames, and nothing else to do: ``ideal`` sends each replica its share at once."""

    replicas: int
    nodes: int
    ideal_s: float
    p50_s: float
    slowest_s: float
    p50_over_ideal: float


@dataclass(frozen=True)
class Scaling:
    """Both, of one cluster."""

    weak: Weak
    strong: Strong


SIZES = (Size(1, 1), Size(4, 1), Size(16, 2), Size(STRONG_REPLICAS, 4))
QUICK_SIZES = (Size(4, 2),)
WIDE_SIZES = (Size(64, 4),)


def measure(sizes: Sequence[Size], *, n_rounds: int, frame_s: float = FRAME_S) -> list[Scaling]:
    """Make a cluster of each size in turn, and time both on it."""
    return [_measure(size, n_rounds, frame_s) for size in sizes]


def tables_of(sizes: Sequence[Size], *, quick: bool) -> tuple[Table, ...]:
    """Measure, and lay out."""
    found = measure(sizes, n_rounds=1 if quick else N_ROUNDS, frame_s=0.5 if quick else FRAME_S)
    return (
        table(
            f"Weak scaling: {FRAMES_UNDER_WAY} frames under way for each replica:", [scaling.weak for scaling in found]
        ),
        table("Strong scaling: one request of 30 frames:", [scaling.strong for scaling in found]),
    )


def _measure(size: Size, n_rounds: int, frame_s: float) -> Scaling:
    with _service(size, frame_s) as url:
        frames = demo_frames()
        drive(Post(url, frames[: max(size.replicas, 4)]), n_clients=2, n_requests=2)  # it learns what a frame costs
        return Scaling(_weak(url, frames, size, n_rounds, frame_s), _strong(url, frames, size, n_rounds, frame_s))


def _weak(url: str, frames: Sequence[bytes], size: Size, n_rounds: int, frame_s: float) -> Weak:
    frames_per_request = min(MAX_FRAMES, FRAMES_UNDER_WAY * size.replicas)
    n_clients = max(2, math.ceil(FRAMES_UNDER_WAY * size.replicas / frames_per_request))
    post = Post(url, frames[:frames_per_request])
    outcomes = [drive(post, n_clients=n_clients, n_requests=REQUESTS_PER_CLIENT * n_clients) for _ in range(n_rounds)]
    frames_per_s = median(outcome.steady_frames_per_s(n_clients) for outcome in outcomes)
    return Weak(
        replicas=size.replicas,
        nodes=size.nodes,
        clients=n_clients,
        frames_per_request=frames_per_request,
        frames_per_s=frames_per_s,
        frames_per_s_over_ideal=frames_per_s * frame_s / size.replicas,
    )


def _strong(url: str, frames: Sequence[bytes], size: Size, n_rounds: int, frame_s: float) -> Strong:
    outcome = drive(Post(url, frames), n_clients=1, n_requests=n_rounds)
    ideal_s = math.ceil(len(frames) / size.replicas) * frame_s
    p50_s = outcome.latency_ms(50) / 1000
    return Strong(
        replicas=size.replicas,
        nodes=size.nodes,
        ideal_s=ideal_s,
        p50_s=p50_s,
        slowest_s=outcome.latency_ms(100) / 1000,
        p50_over_ideal=p50_s / ideal_s,
    )


@contextmanager
def _service(size: Size, frame_s: float) -> Iterator[str]:
    os.environ["PYTHONPATH"] = str(ROOT)  # Ray's workers import the application from here
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # keeps 127.0.0.1, which Ray else takes for its outer address
    with tempfile.TemporaryDirectory(prefix="scaling-") as folder, _cluster(size) as address:
        config = changed(
            "prod.yaml",
            Path(folder),
            on_one_machine,
            with_extractors(size.replicas, num_cpus=0, resources={PLACE: 1}),
            with_app("benchmarks.sleeping:build_app", frame_s=frame_s),
        )
        with service_of(config, start_timeout_s=START_TIMEOUT_S, ray_address=address) as url:
            yield url


@contextmanager
def _cluster(size: Size) -> Iterator[str]:
    """A head for everything but extractors, and the nodes for these."""
    local: dict[str, Any] = {"node_ip_address": "127.0.0.1", "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **local})
    try:
        for _ in range(size.nodes):
            cluster.add_node(num_cpus=0, resources={PLACE: math.ceil(size.replicas / size.nodes)}, **local)
        yield str(cluster.address)
    finally:
        started = tree(os.getpid())
        for node in cluster.list_all_nodes():  # type: ignore[no-untyped-call]  # Ray's tests' own
            cluster.remove_node(node, allow_graceful=False)  # gracefully it would drain each for 30 s
        end_of_ray(started)  # the nodes' agents do not notice
        reset_ray_address()  # else the next Ray would be looked for here


_MEANING = """
An extractor that sleeps a second for each frame, in place of one that computes, on simulated nodes of this one machine:
what is left is the cost of fan-out, transport, parsing, scoring and routing, and all of it, with every replica's
process, on these few cores. Weak scaling is the rate while all clients have a request under way; its `ideal` is a frame
a second for each replica. Strong scaling is the latency of one request of 30 frames on a service with nothing else to
do; its `ideal` is the seconds that the busiest replica sleeps.
"""

BENCHMARK = Benchmark(
    name="scaling",
    title="Scaling",
    meaning=_MEANING,
    tables=lambda quick: tables_of(QUICK_SIZES if quick else SIZES, quick=quick),
)
WIDE = Benchmark(
    name="scaling-64",
    title="Scaling to 64 replicas",
    meaning=_MEANING,
    tables=lambda quick: tables_of(WIDE_SIZES, quick=quick),
)

if __name__ == "__main__":
    run_alone(BENCHMARK, __doc__)
