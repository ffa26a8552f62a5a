"""What a call from one deployment to another costs, by what it carries and by what the heap does with freed memory.

python -m benchmarks.calls [--quick] [--json]
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import requests

from benchmarks.configs import Deploy, changed
from benchmarks.load import HTTP_TIMEOUT_S, service_of
from benchmarks.report import Benchmark, Table, run_alone, table

N_ROUNDS = 5
N_CALLS = 200
PAYLOADS_MB = (0.001, 0.3, 1.6, 5.0)

Costs = Mapping[str, float]  # seconds of a call by what was measured, as benchmarks.echo says it


@dataclass(frozen=True)
class Call:
    """Medians of one size: a call's time and its CPU in both processes, with the heap as configured and unset."""

    payload_mb: float
    call_ms: float
    caller_cpu_ms: float
    replica_cpu_ms: float
    unset_call_ms: float
    unset_caller_cpu_ms: float
    unset_replica_cpu_ms: float


def measure(*, quick: bool) -> list[Call]:
    """Start the two deployments with either heap in turn, and have one call the other."""
    rounds = [(_costs(keeping=True), _costs(keeping=False)) for _ in range(1 if quick else N_ROUNDS)]
    return [
        _call(size, [kept[size] for kept, _ in rounds], [given_back[size] for _, given_back in rounds])
        for size in PAYLOADS_MB
    ]


def tables(quick: bool) -> tuple[Table, ...]:
    """Measure, and lay out."""
    return (table("One call at a time; `unset` is without `MALLOC_*`:", measure(quick=quick)),)


def _costs(*, keeping: bool) -> Mapping[float, Costs]:
    with tempfile.TemporaryDirectory() as folder:
        config = changed("dev.yaml", Path(folder), _echo, *([] if keeping else [_without_heap]))
        with service_of(config) as url:
            return {size: _cost(url, size) for size in PAYLOADS_MB}


def _cost(url: str, payload_mb: float) -> Costs:
    response = requests.get(
        f"{url}/calls", params={"n_calls": N_CALLS, "n_bytes": round(1e6 * payload_mb)}, timeout=HTTP_TIMEOUT_S
    )
    response.raise_for_status()
    costs: Costs = response.json()
    return costs


def _echo(deploy: Deploy) -> None:
    """Serve benchmarks.echo, in the replicas' environment."""
    [app] = deploy["applications"]
    app.update(import_path="benchmarks.echo:build_app", args={}, deployments=[])


def _without_heap(deploy: Deploy) -> None:
    [app] = deploy["applications"]
    variables = app["runtime_env"]["env_vars"]
    app["runtime_env"]["env_vars"] = {
        name: value for name, value in variables.items() if not name.startswith("MALLOC_")
    }


def _call(payload_mb: float, kept: list[Costs], unset: list[Costs]) -> Call:
    def ms(rounds: list[Costs], what: str) -> float:
        return 1000 * median(costs[what] for costs in rounds)

    return Call(
        payload_mb=payload_mb,
        call_ms=ms(kept, "call_s"),
        caller_cpu_ms=ms(kept, "caller_cpu_s"),
        replica_cpu_ms=ms(kept, "replica_cpu_s"),
        unset_call_ms=ms(unset, "call_s"),
        unset_caller_cpu_ms=ms(unset, "caller_cpu_s"),
        unset_replica_cpu_ms=ms(unset, "replica_cpu_s"),
    )


BENCHMARK = Benchmark(
    name="calls",
    title="A call between deployments",
    meaning="""
Two deployments that do nothing, in the environment of `configs/dev.yaml`: one calls the other, 200 times for each size
of what it sends, in 30 parts: 1.6 MB are 30 frames of 640x480, 5 MB of 1920x1080. `unset` is the same without the
`MALLOC_*` variables: there glibc gives the memory of each call back to the system, and takes it again for the next one,
page by page. The CPU is that of the two processes.
""",
    tables=tables,
)

if __name__ == "__main__":
    run_alone(BENCHMARK, __doc__)
