"""The fan-out: how a request's frames are cut into calls, by what a frame was measured to cost."""

import math
from itertools import accumulate, pairwise

from serve_app.settings import PipelineSettings

_FIRST_GUESS_S = 0.02  # of what a frame costs: between the face mesh's 5 ms and OpenFace's 60 to 200
_WEIGHT = 0.3  # of the newest measurement
_MANY_CALLS = 5  # for one replica: with fewer, what balance gains is less than what more calls cost
_BREAK_EVEN = 1.0  # a call may cost as much as its frames where replicas would else be idle


class FanOut:
    """Cuts requests into calls for the replicas that are free, none smaller than a call is worth.

    Where frames are dear there are more calls than replicas, the large ones first and the small ones last (guided
    self-scheduling, Polychronopoulos and Kuck 1987): who is done early takes one more, nobody waits for a straggler.
    """

    def __init__(self, settings: PipelineSettings) -> None:
        self._settings = settings
        self._frame_s = _FIRST_GUESS_S

    def learn(self, frame_s: float) -> None:
        """Take note of what a frame cost an extractor, in seconds."""
        self._frame_s += _WEIGHT * (frame_s - self._frame_s)

    def cut(self, n_frames: int, replicas: float) -> list[slice]:
        """Cut frames 0 to ``n_frames`` - 1 into calls; ``replicas`` are those for this request, below 1 if shared."""
        replicas = max(replicas, 1.0)
        share, least = math.ceil(n_frames / replicas), self._frames_worth(self._settings.max_call_share)
        if share < _MANY_CALLS * least:
            n_calls = math.ceil(n_frames / min(max(share, self._frames_worth(_BREAK_EVEN)), self._at_most))
            return [slice(first, n_frames, n_calls) for first in range(n_calls)]  # neighbours cost alike: dealt out
        sizes = self._guided_sizes(n_frames, replicas, least)
        return [slice(start, end) for start, end in pairwise(accumulate(sizes, initial=0))]

    @property
    def _at_most(self) -> int:
        return self._settings.max_frames_per_call

    def _frames_worth(self, call_share: float) -> int:
        """How few frames may go into a call for its own cost to be at most this share of theirs."""
        return min(math.ceil(self._settings.call_cost_s / (call_share * max(self._frame_s, 1e-6))), self._at_most)

    def _guided_sizes(self, n_frames: int, replicas: float, least: int) -> list[int]:
        """Half a replica's share of what is left, each time."""
        sizes = []
        while n_frames:
            size = min(max(math.ceil(n_frames / (2 * replicas)), least), self._at_most, n_frames)
            sizes.append(size)
            n_frames -= size
        return sizes
