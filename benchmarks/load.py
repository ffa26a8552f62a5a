"""Load on a service: frames to send, closed-loop clients that send them, and how long each answer took."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import requests
from PIL import Image, ImageOps

from serve_app.demo import encode_jpeg, fetch_portrait, talking_head_frames
from serve_app.settings import cache_dir

CONFIG = Path(__file__).parents[1] / "configs" / "dev.yaml"
START_TIMEOUT_S = 240.0
HTTP_TIMEOUT_S = 200.0
_RETRY_PAUSE_S = 0.1  # Retry-After says 5 s; in a benchmark that would be idle time

Size = tuple[int, int]


@dataclass(frozen=True)
class Reply:
    """How one request ended: frames scored, seconds until the answer was there, and refusals before it."""

    scored_frames: int
    elapsed_s: float
    refusals: int


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

    @property
    def refusals(self) -> int:
        """How often the service said 503 before it took a request."""
        return sum(reply.refusals for reply in self.replies)

    def latency_ms(self, percent: float) -> float:
        """A percentile of the time from the first try to the answer."""
        return percentile_ms(self.replies, percent)


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
    """A request, encoded once as by a load generator, that is sent until the service takes it."""

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
            time.sleep(_RETRY_PAUSE_S)
            response = self._send()
        response.raise_for_status()
        return Reply(int(response.json()["summary"]["scored_frames"]), time.perf_counter() - began, refusals)

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
