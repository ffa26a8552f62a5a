"""How long OpenFace takes for 30 frames: a process per frame, one process for all, a warm worker, the service.

    OPENFACE_BINARY=... python benchmarks/openface_speed.py FRAMES [--rounds 5] [--no-http] [--json]

FRAMES is a folder of up to 30 images with a face. One core runs a process per frame (naive), one process for all (cold)
and a warm worker (warm). Two cores, which may slow each other down, run two at a time of the first (two_naive) and of
the last (two_warm), and the service (http). The ways are timed in turn, so that a busy machine slows all of them;
medians are printed. A process per frame is timed on 10 frames and scaled; the service and two warm workers, which take
seconds where that takes a minute, are timed five times in each round, in turn too.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import requests

from serve_app.addresses import free_port
from serve_app.extractors.openface.cold import ColdExtractor
from serve_app.extractors.openface.command import command_line, environment, find_binary
from serve_app.extractors.openface.extractor import OpenFaceExtractor
from serve_app.frames import ACCEPTED_EXTENSIONS
from serve_app.launcher import running_service
from serve_app.settings import MAX_FRAMES, ExtractorSettings, LaunchSettings, OpenFaceSettings, cache_dir

CONFIG = Path(__file__).parents[1] / "configs" / "openface.yaml"
N_NAIVE = 10
N_PAIRS = 5
PROCESS_TIMEOUT_S = 300
HTTP_TIMEOUT_S = 200

Way = Callable[[], float]


def main() -> None:
    """Measure and print."""
    args = _arguments()
    frames = _read_frames(args.frames)
    with tempfile.TemporaryDirectory(prefix="openface-speed-") as folder, _service(args.http) as url:
        times_s = _measure(frames, Path(folder), url, n_rounds=args.rounds)
    _report(times_s, n_frames=len(frames), as_json=args.json)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames", type=Path, help="a folder of images")
    parser.add_argument("--rounds", type=int, default=5, help="how often each way is timed (default: 5)")
    parser.add_argument("--no-http", dest="http", action="store_false", help="leave the service out")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _read_frames(folder: Path) -> list[bytes]:
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in ACCEPTED_EXTENSIONS)
    if not paths:
        sys.exit(f"no image in {folder}")
    return [path.read_bytes() for path in paths[:MAX_FRAMES]]


def _measure(frames: Sequence[bytes], folder: Path, url: str | None, *, n_rounds: int) -> dict[str, list[float]]:
    """Seconds for all frames, each way, each round."""
    settings = ExtractorSettings(openface=OpenFaceSettings(temp_dir=folder / "temp"))
    binary = find_binary(settings.openface)
    core, other = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
    sample = frames[:N_NAIVE]
    halves, scale = (sample[::2], sample[1::2]), len(frames) / len(sample)
    naive = partial(_run_naive, binary=binary, settings=settings.openface, folder=folder)
    cold = ColdExtractor(_unpinned(settings), binary)
    with _warm_pair(settings, binary) as pair, ThreadPoolExecutor(2) as threads:
        ways: dict[str, Way] = {
            "naive": lambda: scale * _timed(lambda: naive(sample, core)),
            "two_naive": lambda: scale * _timed(lambda: list(threads.map(naive, halves, (core, other)))),
            "cold": lambda: _timed(lambda: _extract_cold(cold, frames, core)),
            "warm": lambda: _timed(lambda: _extract_all(pair[0], frames)),
        }
        pairs: dict[str, Way] = {"two_warm": lambda: _timed(lambda: _extract_by_two(threads, pair, frames))}
        if url is not None:
            pairs["http"] = lambda: _timed(lambda: _post(url, frames))
        times_s: defaultdict[str, list[float]] = defaultdict(list)
        for _ in range(n_rounds):
            for name, way in ways.items():
                times_s[name].append(way())
            for _ in range(N_PAIRS):
                for name, way in pairs.items():
                    times_s[name].append(way())
    cold.close()
    return times_s


def _unpinned(settings: ExtractorSettings) -> ExtractorSettings:
    return settings.model_copy(update={"openface": settings.openface.model_copy(update={"pin_to_core": False})})


@contextmanager
def _warm_pair(settings: ExtractorSettings, binary: Path) -> Iterator[Sequence[OpenFaceExtractor]]:
    pair = [OpenFaceExtractor(settings, binary) for _ in range(2)]
    yield pair
    for extractor in pair:
        extractor.close()


def _run_naive(frames: Sequence[bytes], core: int, *, binary: Path, settings: OpenFaceSettings, folder: Path) -> None:
    """Start a process per frame on this core, as a script would."""
    with tempfile.TemporaryDirectory(dir=folder) as work, _on(core):
        for frame in frames:
            Path(work, "a0.bin").write_bytes(frame)
            argv, env = command_line(binary, settings, ["a0.bin"]), environment(Path(work), fifos=False)
            subprocess.run(argv, cwd=work, env=env, capture_output=True, timeout=PROCESS_TIMEOUT_S, check=True)  # noqa: S603


@contextmanager
def _on(core: int) -> Iterator[None]:
    """Have the processes that this thread starts inherit one core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _extract_cold(extractor: ColdExtractor, frames: Sequence[bytes], core: int) -> None:
    with _on(core):
        extractor.extract_chunk(frames)


def _extract_all(extractor: OpenFaceExtractor, frames: Sequence[bytes]) -> None:
    for frame in frames:
        extractor.extract(frame)


def _extract_by_two(threads: ThreadPoolExecutor, pair: Sequence[OpenFaceExtractor], frames: Sequence[bytes]) -> None:
    list(threads.map(_extract_all, pair, (frames[::2], frames[1::2])))


@contextmanager
def _service(wanted: bool) -> Iterator[str | None]:
    """The service on two replicas, and its URL; None if it is not wanted."""
    if not wanted:
        yield None
        return
    launch = LaunchSettings(host="127.0.0.1", port=free_port())
    log = cache_dir() / "openface-benchmark.log"
    with running_service(CONFIG, launch, log=log, start_timeout_s=HTTP_TIMEOUT_S) as url:
        yield url


def _post(url: str, frames: Sequence[bytes]) -> None:
    files = [("files", (f"{index}.jpg", frame)) for index, frame in enumerate(frames)]
    response = requests.post(f"{url}/batch/predict", files=files, timeout=HTTP_TIMEOUT_S)
    if not response.ok or response.json()["status"] != "success":
        sys.exit(f"the service answered {response.status_code}: {response.text[:500]}")


def _report(times_s: Mapping[str, Sequence[float]], *, n_frames: int, as_json: bool) -> None:
    medians = {name: statistics.median(times) for name, times in times_s.items()}
    result = {"frames": n_frames, **{f"{name}_s": round(median, 3) for name, median in medians.items()}}
    result["naive_over_cold"] = round(medians["naive"] / medians["cold"], 1)
    result["naive_over_warm"] = round(medians["naive"] / medians["warm"], 1)
    if "http" in medians:
        result["two_naive_over_http"] = round(medians["two_naive"] / medians["http"], 1)
        result["http_over_two_warm"] = round(medians["http"] / medians["two_warm"], 2)
    if as_json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:>20}  {value}")


if __name__ == "__main__":
    main()
