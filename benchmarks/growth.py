"""What one more frame, megapixel, client, model or kept session costs, so that a cliff would show.

    python -m benchmarks.growth [--quick] [--json]

Each is varied alone, on the service of ``configs/dev.yaml``.
"""

import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.configs import changed, with_args
from benchmarks.load import Post, Size, demo_frames, drive, service_of
from benchmarks.processes import child_running, pss_by_role
from benchmarks.report import Benchmark, Table, run_alone, table
from serve_app.settings import DEFAULT_MODEL, PRETRAINED_DIR

FRAMES_OF_CLIENTS = 5  # per request; 256 clients with 30 each would wait for a minute
FRAMES_OF_SIZES = 4


@dataclass(frozen=True)
class Extent:
    """How far each is varied, and how many requests each step takes."""

    frames: tuple[int, ...]
    sizes: tuple[Size, ...]
    clients: tuple[int, ...]
    models: tuple[int, ...]
    sessions: tuple[int, ...]
    n_requests: int


FULL = Extent(
    frames=(1, 2, 5, 10, 15, 20, 25, 30),
    sizes=((640, 480), (1280, 960), (1920, 1080), (2880, 2160), (4000, 3000)),
    clients=(1, 4, 16, 64, 256),
    models=(1, 4, 16),
    sessions=(0, 1_000, 10_000, 100_000),
    n_requests=9,
)
QUICK = Extent(
    frames=(1, 30), sizes=((640, 480), (4000, 3000)), clients=(1, 64), models=(16,), sessions=(0, 1_000), n_requests=3
)


@dataclass(frozen=True)
class ByFrames:
    """One client, requests of some frames."""

    frames_per_request: int
    p50_ms: float
    p50_ms_per_frame: float


@dataclass(frozen=True)
class BySize:
    """One client, four frames of some size."""

    frame_size: str
    megapixels: float
    p50_ms_per_frame: float
    p50_ms_per_megapixel: float


@dataclass(frozen=True)
class ByClients:
    """Some clients, requests of five frames; who is refused comes again when it was told to."""

    clients: int
    frames_per_s: float
    p50_ms: float
    p99_ms: float
    p50_ms_per_client: float
    refusals_per_request: float


@dataclass(frozen=True)
class ByModels:
    """Some models loaded, each asked in turn."""

    models: int
    start_s: float
    p50_ms: float
    predictor_pss_mb: float


@dataclass(frozen=True)
class BySessions:
    """Some sessions kept already; the requests keep theirs."""

    sessions_kept: int
    p50_ms: float
    slowest_ms: float


@dataclass(frozen=True)
class Growth:
    """All five."""

    by_frames: tuple[ByFrames, ...]
    by_size: tuple[BySize, ...]
    by_clients: tuple[ByClients, ...]
    by_models: tuple[ByModels, ...]
    by_sessions: tuple[BySessions, ...]


def measure(extent: Extent) -> Growth:
    """Vary each in turn."""
    n_requests = extent.n_requests
    with tempfile.TemporaryDirectory(prefix="growth-") as folder:
        output_dir = Path(folder) / "output"
        config = changed("dev.yaml", Path(folder), with_args("ingress", output_dir=str(output_dir)))
        with service_of(config) as url:
            frames = demo_frames()
            drive(Post(url, frames), n_clients=4, n_requests=8)  # warms it up
            by_frames = tuple(_by_frames(url, frames[:count], n_requests) for count in extent.frames)
            by_size = tuple(_by_size(url, size, n_requests) for size in extent.sizes)
            by_clients = tuple(_by_clients(url, frames, count) for count in extent.clients)
            by_sessions = tuple(
                _by_sessions(url, frames[:1], output_dir, count, n_requests) for count in extent.sessions
            )
    by_models = tuple(_by_models(count, n_requests) for count in extent.models)
    return Growth(by_frames, by_size, by_clients, by_models, by_sessions)


def tables(quick: bool) -> tuple[Table, ...]:
    """Measure, and lay out."""
    growth = measure(QUICK if quick else FULL)
    return (
        table("Frames per request, 1 client:", growth.by_frames),
        table(f"Size of a frame, {FRAMES_OF_SIZES} frames per request, 1 client:", growth.by_size),
        table(f"Clients, {FRAMES_OF_CLIENTS} frames per request:", growth.by_clients),
        table("Models loaded, one frame per request, each model in turn:", growth.by_models),
        table("Sessions kept before, one frame per request, which is kept too:", growth.by_sessions),
    )


def _by_frames(url: str, frames: Sequence[bytes], n_requests: int) -> ByFrames:
    p50_ms = drive(Post(url, frames), n_clients=1, n_requests=n_requests).latency_ms(50)
    return ByFrames(len(frames), p50_ms, p50_ms / len(frames))


def _by_size(url: str, size: Size, n_requests: int) -> BySize:
    frames = demo_frames(size, FRAMES_OF_SIZES)
    p50_ms = drive(Post(url, frames), n_clients=1, n_requests=n_requests).latency_ms(50) / len(frames)
    megapixels = size[0] * size[1] / 1e6
    return BySize(f"{size[0]}x{size[1]}", megapixels, p50_ms, p50_ms / megapixels)


def _by_clients(url: str, frames: Sequence[bytes], n_clients: int) -> ByClients:
    n_requests = max(4 * n_clients, 16)
    outcome = drive(Post(url, frames[:FRAMES_OF_CLIENTS]), n_clients=n_clients, n_requests=n_requests)
    return ByClients(
        clients=n_clients,
        frames_per_s=outcome.steady_frames_per_s(n_clients),
        p50_ms=outcome.latency_ms(50),
        p99_ms=outcome.latency_ms(99),
        p50_ms_per_client=outcome.latency_ms(50) / n_clients,
        refusals_per_request=outcome.refusals / n_requests,
    )


def _by_sessions(url: str, frames: Sequence[bytes], output_dir: Path, n_sessions: int, n_requests: int) -> BySessions:
    output_dir.mkdir(exist_ok=True)
    for number in range(n_sessions):
        (output_dir / f"kept_{number:06d}").mkdir(exist_ok=True)
    replies = [
        drive(Post(url, frames, cleanup="false", session_id=f"mine_{n_sessions}_{number}"), n_clients=1, n_requests=1)
        for number in range(3 * n_requests)
    ]
    latencies = sorted(outcome.latency_ms(50) for outcome in replies)
    return BySessions(n_sessions, latencies[len(latencies) // 2], latencies[-1])


def _by_models(n_models: int, n_requests: int) -> ByModels:
    with tempfile.TemporaryDirectory(prefix="growth-") as folder:
        names = _copy_models(Path(folder) / "models", n_models)
        config = changed("dev.yaml", Path(folder), with_args("predictor", models_dir=str(Path(folder) / "models")))
        began = time.perf_counter()
        with service_of(config) as url:
            start_s = time.perf_counter() - began
            frames = demo_frames(n_frames=1)
            posts = [Post(url, frames, model_name=name) for name in names]
            for post in posts:
                post()
            latencies = sorted(post().elapsed_s for _ in range(n_requests) for post in posts)
            [predictor_pss_mb] = pss_by_role(child_running("deployments.run"))["Predictor"]
        return ByModels(n_models, start_s, 1000 * latencies[len(latencies) // 2], predictor_pss_mb)


def _copy_models(models_dir: Path, n_models: int) -> list[str]:
    """The shipped model under as many names."""
    names = [DEFAULT_MODEL, *(f"copy_{number}" for number in range(1, n_models))]
    for name in names:
        folder = models_dir / name / "1"
        shutil.copytree(PRETRAINED_DIR / DEFAULT_MODEL / "1", folder)
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps({**manifest, "name": name}))
    return names


BENCHMARK = Benchmark(
    name="growth",
    title="Growth",
    meaning="""
One thing is varied at a time. Where the last column but the refusals is level, cost grows in proportion; a jump in it
would be a cliff. Beyond 16 requests under way the service refuses with 503, so that those it has taken end in time; the
clients of this benchmark come again when `Retry-After` says, up to half of it sooner. Frames/s are those while all of
them had a request under way, or waited to send it again.
""",
    tables=tables,
)

if __name__ == "__main__":
    run_alone(BENCHMARK, __doc__)
