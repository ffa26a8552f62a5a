"""Who takes the next call: the shortest of several queues."""

import random
import time
from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

_AVOID_S = 0.25  # about what three calls of facemesh take
_CHOICE_S = 0.5  # a call is sent well within it after its choice or, when its caller left meanwhile, never

Worker = TypeVar("Worker", bound=Hashable)


class Queues(Generic[Worker]):
    """The calls sent from here to each worker that have not ended.

    Calls that choose at the same time, before any of them is sent, count each other. A worker that refused a call, or
    was not reached, is in doubt until it takes one: it is tried again, but only now and then.
    """

    def __init__(self) -> None:
        self._under_way = Counter[Worker]()
        self._chosen_until: dict[Worker, list[float]] = {}
        self._avoided_until: dict[Worker, float] = {}  # those in doubt
        self._turn = random.randrange(2**16)  # noqa: S311 - not all processes begin with the same worker

    def choose(self, limits: Mapping[Worker, int]) -> Worker | None:
        """Choose the worker with the shortest queue; of equal ones, another than the last time.

        ``limits`` says how long each worker's queue may be; None while all are full or avoided.
        """
        now_s = time.monotonic()
        self._forget_choices(now_s)
        with_room = [worker for worker, limit in limits.items() if self._has_room(worker, limit, now_s)]
        if not with_room:
            return None
        self._turn += 1
        first = self._turn % len(with_room)
        shortest = min(with_room[first:] + with_room[:first], key=self._length_chosen)
        self._chosen_until.setdefault(shortest, []).append(now_s + _CHOICE_S)
        if self.is_in_doubt(shortest):
            self.doubt(shortest)  # one call finds out for all
        return shortest

    def length(self, worker: Worker) -> int:
        """Count the calls under way there."""
        return self._under_way[worker]

    def is_in_doubt(self, worker: Worker) -> bool:
        """Whether it took no call since it was last doubted."""
        return worker in self._avoided_until

    def sent(self, worker: Worker) -> None:
        """Count a call that was sent."""
        self._under_way[worker] += 1
        self._chosen_until[worker] = self._chosen_until.get(worker, [])[1:]

    def ended(self, worker: Worker) -> None:
        """Count a call that ended, however it did."""
        self._under_way -= Counter([worker])

    def doubt(self, worker: Worker) -> None:
        """Send nothing there for a moment: it refused a call, or was not reached."""
        self._avoided_until[worker] = time.monotonic() + _AVOID_S

    def trust(self, worker: Worker) -> None:
        """Doubt it no more: it took a call."""
        self._avoided_until.pop(worker, None)

    def keep(self, workers: set[Worker]) -> None:
        """Forget the doubts about all others: they are gone."""
        self._avoided_until = {worker: until for worker, until in self._avoided_until.items() if worker in workers}

    def _has_room(self, worker: Worker, limit: int, now_s: float) -> bool:
        return self._length_chosen(worker) < limit and self._avoided_until.get(worker, now_s) <= now_s

    def _length_chosen(self, worker: Worker) -> int:
        return self._under_way[worker] + len(self._chosen_until.get(worker, ()))

    def _forget_choices(self, now_s: float) -> None:
        kept = {worker: [until for until in times if until > now_s] for worker, times in self._chosen_until.items()}
        self._chosen_until = {worker: times for worker, times in kept.items() if times}
