"""A service under load: started from a config, sent frames by closed-loop clients, timed by every answer."""

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import requests
from PIL import Image, ImageOps

from serve_app.addresses import free_port
from serve_app.demo import encode_jpeg, fetch_portrait, talking_head_frames
from serve_app.launcher import OWN_RAY, running_service
from serve_app.settings import LaunchSettings, cache_dir

CONFIG = Path(__file__).parents[1] / "configs" / "dev.yaml"
START_TIMEOUT_S = 240.0
HTTP_TIMEOUT_S = 200.0

Size = tuple[int, int]


@dataclass(frozen=True)
class Reply:
    """How one request ended: frames scored, seconds until its answer, refusals before it, and when that came."""

    scored_frames: int
    elapsed_s: float
    refusals: int = 0
    came_s: float = 0.0  # of time.perf_counter()


@dataclass(frozen=True)
class Outcome:
    """What closed-loop clients saw, together."""

    wall_s: float
    replies: tuple[Reply, ...]

    @property
    def scored_frames(self) -> int:
        """Of all requests."""
        return sum(reply.scored_frames for reply in self.replies)

    @property
    def frames_per_s(self) -> float:
        """Scored frames over the time that all of it took."""
        return self.scored_frames / self.wall_s

    def steady_frames_per_s(self, n_clients: int) -> float:
        """Scored frames a second while every client had a request under way: neither the start nor the end counts.

        A request that was under way at either edge counts by the part of its time that lies within.

        Raises:
            ValueError: there were fewer than two requests for each client.
        """
        if len(self.replies) < 2 * n_clients:
            raise ValueError(f"{len(self.replies)} requests of {n_clients} clients have no steady part; send more")
        came_s = sorted(reply.came_s for reply in self.replies)
        began, ended = came_s[n_clients - 1], came_s[-n_clients]
        frames = 0.0
        for reply in self.replies:
            within_s = min(reply.came_s, ended) - max(reply.came_s - reply.elapsed_s, began)
            frames += reply.scored_frames * max(within_s, 0.0) / reply.elapsed_s
        return frames / (ended - began)

    @property
    def refusals(self) -> int:
        """How often the service said 503 before it took a request."""
        return sum(reply.refusals for reply in self.replies)

    def latency_ms(self, percent: float) -> float:
        """A percentile of the time from the first try to the answer."""
        return percentile_ms(self.replies, percent)


@contextmanager
def service_of(config: Path, *, start_timeout_s: float = START_TIMEOUT_S, ray_address: str = OWN_RAY) -> Iterator[str]:
    """Run the service of a config on a free port; yield its URL once it is ready. Its log is in the cache's folder."""
    launch = LaunchSettings(host="127.0.0.1", port=free_port())
    log = cache_dir() / "benchmark.log"
    with running_service(config, launch, log=log, start_timeout_s=start_timeout_s, ray_address=ray_address) as url:
        yield url


def percentile_ms(replies: Sequence[Reply], percent: float) -> float:
    """A percentile of the replies' latencies, linear between neighbours."""
    return 1000 * float(np.percentile([reply.elapsed_s for reply in replies], percent))


def demo_frames(size: Size = (640, 480), n_frames: int = 30) -> list[bytes]:
    """The demo's talking head, upscaled into ``size`` with black around it where the shape differs."""
    frames = talking_head_frames(fetch_portrait(cache_dir()), n_frames)
    if size == (640, 480):
        return frames
    return [encode_jpeg(ImageOps.pad(Image.open(BytesIO(frame)), size), quality=90) for frame in frames]


class Post:
    """A request, encoded once as by a load generator, that is sent until the service takes it.

    Who is refused waits for half of ``Retry-After`` to all of it, so that not all come back at once.
    """

    def __init__(self, url: str, frames: Sequence[bytes], **form: str) -> None:
        files = [("files", (f"frame_{index:04d}.jpg", frame, "image/jpeg")) for index, frame in enumerate(frames)]
        self._request = requests.Request("POST", f"{url}/batch/predict", files=files, data=form).prepare()
        self._connections = threading.local()

    def __call__(self) -> Reply:
        """Send it.

        Raises:
            requests.RequestException: there was no answer, an error, or nothing but 503 for ``HTTP_TIMEOUT_S``.
        """
        began = time.perf_counter()
        refusals = 0
        response = self._send()
        while response.status_code == requests.codes.unavailable and time.perf_counter() - began < HTTP_TIMEOUT_S:
            refusals += 1
            time.sleep(float(response.headers.get("Retry-After", 1)) * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            response = self._send()
        response.raise_for_status()
        came_s = time.perf_counter()
        return Reply(int(response.json()["summary"]["scored_frames"]), came_s - began, refusals, came_s)

    def _send(self) -> requests.Response:
        """Over this client's connection, kept open."""
        if not hasattr(self._connections, "session"):
            self._connections.session = requests.Session()
        session: requests.Session = self._connections.session
        return session.send(self._request, timeout=HTTP_TIMEOUT_S)


def drive(send: Callable[[], Reply], *, n_clients: int, n_requests: int) -> Outcome:
    """Send ``n_requests`` from ``n_clients`` that each wait for their answer before they send again."""
    with ThreadPoolExecutor(n_clients) as clients:
        began = time.perf_counter()
        replies = tuple(clients.map(lambda _: send(), range(n_requests)))
        return Outcome(time.perf_counter() - began, replies)
