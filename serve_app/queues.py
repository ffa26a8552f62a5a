"""Who takes the next call: the shortest of several queues."""

import random
import time
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

_AVOID_S = 0.25  # about what three calls of facemesh take
_CHOICE_S = 0.5  # a call is sent well within it after its choice or, when its caller left meanwhile, never

Worker = TypeVar("Worker", bound=Hashable)


class Queues(Generic[Worker]):
    """The calls that this process sent to each worker and that have not ended.

    Calls that choose at the same time, before any of them is sent, count each other.
    """

    def __init__(self) -> None:
        self._under_way = Counter[Worker]()
        self._chosen_until = defaultdict[Worker, list[float]](list)
        self._avoided_until: dict[Worker, float] = {}
        self._turn = random.randrange(2**16)  # noqa: S311 - not all processes begin with the same worker

    def choose(self, limits: Mapping[Worker, int]) -> Worker | None:
        """Choose the worker with the shortest queue, of equal ones the next in turn.

        ``limits`` says how long each worker's queue may be; None while all are full or avoided.
        """
        now_s = time.monotonic()
        self._forget(now_s)
        with_room = [
            worker
            for worker, limit in limits.items()
            if worker not in self._avoided_until and self._length_chosen(worker) < limit
        ]
        if not with_room:
            return None
        self._turn += 1
        first = self._turn % len(with_room)
        shortest = min(with_room[first:] + with_room[:first], key=self._length_chosen)
        self._chosen_until[shortest].append(now_s + _CHOICE_S)
        return shortest

    def length(self, worker: Worker) -> int:
        """Count the calls under way there."""
        return self._under_way[worker]

    def sent(self, worker: Worker) -> None:
        """Count a call that was sent."""
        self._chosen_until[worker] = self._chosen_until[worker][1:]
        self._under_way[worker] += 1

    def ended(self, worker: Worker) -> None:
        """Count a call that ended, however it did."""
        self._under_way -= Counter([worker])

    def avoid(self, worker: Worker) -> None:
        """Send nothing there for a moment: it refused a call, or was not reached."""
        self._avoided_until[worker] = time.monotonic() + _AVOID_S

    def took(self, worker: Worker) -> None:
        """Avoid it no more: it took a call."""
        self._avoided_until.pop(worker, None)

    def _length_chosen(self, worker: Worker) -> int:
        return self._under_way[worker] + len(self._chosen_until[worker])

    def _forget(self, now_s: float) -> None:
        self._avoided_until = {worker: until for worker, until in self._avoided_until.items() if until > now_s}
        for worker, times in self._chosen_until.items():
            self._chosen_until[worker] = [until for until in times if until > now_s]
