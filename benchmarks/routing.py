"""Who should take the next call: how busy each rule keeps the extractors, by simulation.

    python -m benchmarks.routing [--quick] [--json]

Requests are cut as the service cuts them; replicas, clients and time are simulated, so it needs neither Ray nor cores.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from statistics import median

from benchmarks.report import Benchmark, Table, run_alone, table
from serve_app.fanout import FanOut
from serve_app.settings import MAX_FRAMES, PipelineSettings

FRAME_S = 1.0
SPREAD = 0.2  # a call takes up to this share more or less than its frames say
TURN_S = 0.1  # a client reads its answer and sends again
FRAMES_UNDER_WAY = 8  # for each replica, as in weak scaling
MAX_ONGOING = 3  # calls that a replica takes, as in configs/prod.yaml; the others wait until one has room
WARM_S, END_S = 100.0, 400.0
N_ROUNDS = 5

Queues = Sequence[int]
Rule = Callable[[Queues, int, random.Random], int]  # queues, whose turn it is, chance: who takes the call


def in_turn(queues: Queues, turn: int, _: random.Random) -> int:
    """The next one that is not full: Serve's RoundRobinRouter."""
    return min(_with_room(queues), key=lambda index: (index - turn) % len(queues))


def shorter_of_two(queues: Queues, _: int, chance: random.Random) -> int:
    """The less loaded of two at random: Serve's default, were it always up to date."""
    with_room = _with_room(queues)
    return min(chance.sample(with_room, min(2, len(with_room))), key=queues.__getitem__)


def shortest(queues: Queues, turn: int, _: random.Random) -> int:
    """The shortest queue; of equal ones, the next in turn: ours."""
    return min(_with_room(queues), key=lambda index: (queues[index], (index - turn) % len(queues)))


def _with_room(queues: Queues) -> list[int]:
    return [index for index, length in enumerate(queues) if length < MAX_ONGOING]


RULES: tuple[Rule, ...] = (in_turn, shorter_of_two, shortest)  # the order of Kept's columns
Call = tuple[int, float]  # of which request, how many seconds of work
_CLIENT = -1  # in an event, where others have the replica whose call ends


@dataclass(frozen=True)
class Kept:
    """The share of their time that replicas work, by rule."""

    replicas: int
    clients: int
    busy_in_turn: float
    busy_shorter_of_two: float
    busy_shortest: float


class Simulation:
    """Clients that send 30 frames, wait for all of them, and send again, and extractors that work off their queues."""

    def __init__(self, rule: Rule, *, n_replicas: int, n_clients: int, seed: int) -> None:
        self._rule = rule
        self._chance = random.Random(seed)  # noqa: S311 - a simulation
        self._fan_out = FanOut(PipelineSettings())
        for _ in range(100):
            self._fan_out.learn(FRAME_S)
        self._queues: list[deque[Call]] = [deque() for _ in range(n_replicas)]
        self._waiting: deque[Call] = deque()
        self._calls_left: dict[int, int] = {}  # of each request
        self._requests, self._turns = count(), count()
        self._events: list[tuple[float, int]] = [(self._chance.random(), _CLIENT) for _ in range(n_clients)]
        heapq.heapify(self._events)
        self._worked_s = 0.0

    def busy(self) -> float:
        """Run it; the share of their time that replicas work, once all is under way."""
        while self._events[0][0] < END_S:
            now_s, who = heapq.heappop(self._events)
            if who == _CLIENT:
                self._send(now_s)
            else:
                self._end_call(now_s, who)
        return self._worked_s / len(self._queues) / (END_S - WARM_S)

    def _send(self, now_s: float) -> None:
        request = next(self._requests)
        chunks = self._fan_out.cut(MAX_FRAMES, len(self._queues) / (len(self._calls_left) + 1))
        self._calls_left[request] = len(chunks)
        for chunk in chunks:
            n_frames = len(range(MAX_FRAMES)[chunk])
            self._waiting.append((request, n_frames * FRAME_S * self._chance.uniform(1 - SPREAD, 1 + SPREAD)))
        self._route(now_s)

    def _route(self, now_s: float) -> None:
        while self._waiting and _with_room(lengths := [len(queue) for queue in self._queues]):
            replica = self._rule(lengths, next(self._turns), self._chance)
            self._queues[replica].append(self._waiting.popleft())
            if len(self._queues[replica]) == 1:
                self._begin_call(now_s, replica)

    def _begin_call(self, now_s: float, replica: int) -> None:
        _, seconds = self._queues[replica][0]
        heapq.heappush(self._events, (now_s + seconds, replica))

    def _end_call(self, now_s: float, replica: int) -> None:
        request, seconds = self._queues[replica].popleft()
        self._worked_s += seconds if now_s > WARM_S else 0.0
        self._calls_left[request] -= 1
        if not self._calls_left[request]:
            del self._calls_left[request]
            heapq.heappush(self._events, (now_s + TURN_S, _CLIENT))
        if self._queues[replica]:
            self._begin_call(now_s, replica)
        self._route(now_s)


def tables(quick: bool) -> tuple[Table, ...]:
    """Simulate clusters of 2 to 64 replicas."""
    rows = []
    for n_replicas in (2, 64) if quick else (2, 4, 8, 16, 32, 64):
        n_clients = max(2, FRAMES_UNDER_WAY * n_replicas // MAX_FRAMES)
        found = [
            median(
                Simulation(rule, n_replicas=n_replicas, n_clients=n_clients, seed=seed).busy()
                for seed in range(1 if quick else N_ROUNDS)
            )
            for rule in RULES
        ]
        rows.append(Kept(n_replicas, n_clients, *found))
    return (table("Share of their time that extractors work:", rows),)


BENCHMARK = Benchmark(
    name="routing",
    title="Routing, simulated",
    meaning="""
Closed-loop clients send 30 frames of a second, cut as the service cuts them, to simulated extractors, each of which
takes three calls: one in work, the others wait in it. `in turn` is Serve's round robin; `shorter of two` is Serve's
default, with the queues as they are and not as they were when it last heard of them; `shortest` is the rule of
`serve_app/queues.py`.
""",
    tables=tables,
)

if __name__ == "__main__":
    run_alone(BENCHMARK, __doc__)
