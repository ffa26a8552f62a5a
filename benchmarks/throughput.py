"""Frames per second over HTTP at saturation, against the same extractor in a bare process per core.

    python benchmarks/throughput.py [FRAMES_DIR] [--clients 4] [--rounds 5] [--json]

Starts the service of ``configs/dev.yaml`` with a Ray of its own. Each round measures the bare loop (the service
idle beside it) and then HTTP, for the same number of frames; the ratio is taken within the round, and the
medians of the rounds are printed. Without FRAMES_DIR the demo's 640x480 frames are used.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import requests

from serve_app.demo import fetch_portrait, talking_head_frames
from serve_app.extractors.facemesh.extractor import FaceMeshExtractor
from serve_app.frames import ACCEPTED_EXTENSIONS
from serve_app.launcher import free_port, running_service
from serve_app.settings import MAX_FRAMES, ExtractorSettings, LaunchSettings, cache_dir

CONFIG = Path(__file__).parents[1] / "configs" / "dev.yaml"
REQUESTS_PER_CLIENT = 4

_extractor: FaceMeshExtractor | None = None


def main() -> None:
    """Measure and print."""
    args = _arguments()
    frames = _frames(args.frames_dir)
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    n_requests = args.clients * REQUESTS_PER_CLIENT
    launch = LaunchSettings(host="127.0.0.1", port=free_port())
    log = cache_dir() / "benchmark.log"
    spawn = multiprocessing.get_context("spawn")
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # in the bare workers, as Ray does it in its own: threads would only spin
    with (
        running_service(CONFIG, launch, log=log, start_timeout_s=240) as url,
        ProcessPoolExecutor(n_cores, mp_context=spawn, initializer=_load_extractor) as processes,
        ThreadPoolExecutor(args.clients) as clients,
    ):
        rounds = []
        for number in range(args.rounds + 1):
            bare = _frames_per_s(processes, _extract_all, [frames] * n_requests)
            http = _frames_per_s(clients, _Post(url, frames), [frames] * n_requests)
            if number:  # the first round warms both up
                rounds.append((bare, http))
    _report(rounds, n_cores=n_cores, n_clients=args.clients, n_frames=len(frames), as_json=args.json)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames_dir", nargs="?", type=Path, help="up to 30 images; default: the demo's")
    parser.add_argument("--clients", type=int, default=4, help="requests in flight (default: 4)")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds (default: 5)")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _frames(folder: Path | None) -> list[bytes]:
    if folder is None:
        return talking_head_frames(fetch_portrait(cache_dir()))
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in ACCEPTED_EXTENSIONS)
    if not paths:
        sys.exit(f"no image in {folder}")
    return [path.read_bytes() for path in paths[:MAX_FRAMES]]


def _load_extractor() -> None:
    global _extractor  # noqa: PLW0603 - a pool's worker has no other place to keep it
    _extractor = FaceMeshExtractor(ExtractorSettings())


def _extract_all(frames: Sequence[bytes]) -> int:
    if _extractor is None:
        raise RuntimeError("the worker was started without its initializer")
    for frame in frames:
        _extractor.extract(frame)
    return len(frames)


class _Post:
    """A client's request, encoded once as by a load generator: posts the frames and counts those that were scored."""

    def __init__(self, url: str, frames: Sequence[bytes]) -> None:
        files = [("files", (f"{index}.jpg", frame)) for index, frame in enumerate(frames)]
        self._request = requests.Request("POST", f"{url}/batch/predict", files=files).prepare()

    def __call__(self, _: Sequence[bytes]) -> int:
        with requests.Session() as session:
            response = session.send(self._request, timeout=200)
        response.raise_for_status()
        return int(response.json()["summary"]["scored_frames"])


def _frames_per_s(pool: Executor, work: Callable[[Sequence[bytes]], int], batches: Sequence[Sequence[bytes]]) -> float:
    started = time.perf_counter()
    n_frames = sum(pool.map(work, batches))
    return n_frames / (time.perf_counter() - started)


def _report(
    rounds: Sequence[tuple[float, float]], *, n_cores: int, n_clients: int, n_frames: int, as_json: bool
) -> None:
    result = {
        "cores": n_cores,
        "clients": n_clients,
        "frames_per_request": n_frames,
        "rounds": len(rounds),
        "bare_frames_per_s": round(statistics.median(bare for bare, _ in rounds), 1),
        "http_frames_per_s": round(statistics.median(http for _, http in rounds), 1),
        "http_over_bare": round(statistics.median(http / bare for bare, http in rounds), 3),
    }
    if as_json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:>20}  {value}")


if __name__ == "__main__":
    main()
