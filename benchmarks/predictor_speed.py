"""How many rows a second a detector scores, for batches of 1 to 4096 rows, beside the bare network.

    python benchmarks/predictor_speed.py [MODEL[@VERSION]] [--models-dir DIR] [--threads N] [--json]

Rows are simulated faces. ``Detector.scores`` (checks, transfer, calibration and whatever else it says of a row) and
the yardstick, the network's own forward pass on a tensor that is on the device already, are timed in turn, so that a
busy machine slows both. An imported graph has no bare network and is timed alone. On the CPU, and on CUDA where torch
sees it; medians.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from serve_app.errors import ArtifactInvalid
from serve_app.model_names import parse_model_name
from serve_app.models.detector import Detector
from serve_app.models.registry import Manifest, ModelRegistry
from serve_app.models.runtimes import load_network
from serve_app.models.simulation import simulate
from serve_app.settings import DEFAULT_MODEL, PRETRAINED_DIR

BATCHES = (1, 30, 256, 4096)
MIN_ROUNDS = 5
MIN_SECONDS = 1.0  # per batch size: a small batch is timed more often
ROWS_PER_IDENTITY = 4


@dataclass(frozen=True)
class Speed:
    """Median times of one batch; ``ratio`` is the detector's rows/s over the bare network's."""

    device: str
    batch_rows: int
    batch_ms: float
    rows_per_s: float
    bare_rows_per_s: float | None
    ratio: float | None


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=f"{DEFAULT_MODEL}@1", help="as in a request; default: %(default)s")
    parser.add_argument("--models-dir", type=Path, default=PRETRAINED_DIR)
    parser.add_argument("--threads", type=int, default=1, help="of the CPU; the service uses 1")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    registry = ModelRegistry(arguments.models_dir)
    try:
        manifest = _find(registry, arguments.model)
    except ArtifactInvalid as exc:
        sys.exit(str(exc))
    speeds = [speed for device in _devices() for speed in measure(registry, manifest, device, arguments.threads)]
    if arguments.json:
        print(json.dumps({"model": manifest.label, "speeds": [asdict(speed) for speed in speeds]}, indent=2))
    else:
        _print_table(manifest, speeds)


def measure(registry: ModelRegistry, manifest: Manifest, device: torch.device, threads: int) -> Iterator[Speed]:
    """Time every batch size on one device."""
    detector = Detector.load(registry, manifest, device, cpu_threads=threads)
    network = None
    if manifest.architecture == "inverted-residual-1d":
        network = load_network(manifest, registry.load_weights(manifest)).eval().to(device)
    rows = simulate(1, max(BATCHES) // ROWS_PER_IDENTITY, backend=manifest.backend).features
    for n_rows in BATCHES:
        batch = np.ascontiguousarray(rows[:n_rows])
        calls: list[Callable[[], Any]] = [partial(detector.scores, batch)]
        if network:
            calls.append(partial(_forward, network, torch.from_numpy(batch).to(device)))
        seconds, *bare = _medians(calls)
        rows_per_s = n_rows / seconds
        bare_rows_per_s = n_rows / bare[0] if bare else None
        ratio = rows_per_s / bare_rows_per_s if bare_rows_per_s else None
        yield Speed(device.type, n_rows, seconds * 1e3, rows_per_s, bare_rows_per_s, ratio)


def _forward(network: torch.nn.Module, rows: torch.Tensor) -> None:
    with torch.inference_mode():
        network(rows)
    if rows.is_cuda:
        torch.cuda.synchronize()


def _medians(calls: list[Callable[[], Any]]) -> list[float]:
    """Median seconds of each call, timed in turn after one that warms up."""
    times: list[list[float]] = [[] for _ in calls]
    for call in calls:
        call()
    while len(times[0]) < MIN_ROUNDS or sum(times[0]) < MIN_SECONDS:
        for call, seconds in zip(calls, times, strict=True):
            started = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - started)
    return [float(np.median(seconds)) for seconds in times]


def _devices() -> list[torch.device]:
    return [torch.device("cpu"), *([torch.device("cuda")] if torch.cuda.is_available() else [])]


def _find(registry: ModelRegistry, model: str) -> Manifest:
    wanted = parse_model_name(model)
    return registry.load_manifest(wanted.name, wanted.version or max(registry.versions(wanted.name), default=0))


def _print_table(manifest: Manifest, speeds: list[Speed]) -> None:
    print(f"{manifest.label} ({manifest.architecture}, {manifest.backend}); one call of 30 frames is a row below")
    print(f"{'device':<8}{'batch':>6}{'ms/batch':>10}{'rows/s':>10}{'bare rows/s':>13}{'ratio':>7}")
    for speed in speeds:
        bare = f"{speed.bare_rows_per_s:>13.0f}{speed.ratio:>7.2f}" if speed.bare_rows_per_s else f"{'-':>13}{'-':>7}"
        print(f"{speed.device:<8}{speed.batch_rows:>6}{speed.batch_ms:>10.2f}{speed.rows_per_s:>10.0f}{bare}")


if __name__ == "__main__":
    main()
