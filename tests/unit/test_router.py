"""ShortestQueueRouter: what Serve tells it of calls and replicas, in the order in which Serve does."""

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorDiedError
from ray.serve._private.common import DeploymentHandleSource, DeploymentID, ReplicaID

from deployments.router import ShortestQueueRouter
from tests.unit.conftest import Clock

pytestmark = pytest.mark.usefixtures("clock")

EXTRACTOR = DeploymentID(name="Extractor", app_name="deepfake")
MAX_ONGOING = 3


class Replica:
    """What a router sees of a replica: it may be asked how many calls it has."""

    max_ongoing_requests = MAX_ONGOING

    def __init__(self, name: str) -> None:
        self.replica_id = _id(name)
        self.answers: list[int | Exception] = []

    async def get_queue_len(self, *, deadline_s: float) -> int:
        """Say the next of the answers; without one, take too long."""
        if not self.answers:
            await asyncio.sleep(2 * deadline_s)
            raise AssertionError("nobody waits for so long")
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Calls:
    """Calls that Serve sends through a router to the replicas ``a``, ``b``, ..."""

    def __init__(self, runner: asyncio.Runner, names: str) -> None:
        self._runner = runner
        self.replicas = {name: Replica(name) for name in names}
        self._router = ShortestQueueRouter(  # type: ignore[no-untyped-call]  # Serve's constructor
            EXTRACTOR, DeploymentHandleSource.REPLICA, use_replica_queue_len_cache=True
        )
        self._router.initialize_state()
        self._runner.run(self._update())

    def send(self, n_calls: int) -> str:
        """The replicas that take the calls; a dot for one that has to wait."""
        return "".join(self._runner.run(self._send()) for _ in range(n_calls))

    def take(self, name: str, *, told: int) -> None:
        """The replica took a call, and has so many."""
        self._router.on_new_queue_len_info(_id(name), told)
        self._router.on_request_routed(SimpleNamespace(), _id(name), None)  # type: ignore[arg-type]

    def end(self, name: str) -> None:
        """A call ended."""
        self._router.on_request_completed(_id(name), "a call")

    def refuse(self, name: str) -> None:
        """The replica did not take a call."""
        self._router.on_new_queue_len_info(_id(name), MAX_ONGOING)
        self.end(name)

    def do_not_reach(self, name: str) -> None:
        """The replica does not answer."""
        self._router.on_replica_actor_unavailable(_id(name))
        self.end(name)

    async def _update(self) -> None:
        self._router.update_replicas(list(self.replicas.values()))  # type: ignore[arg-type]

    async def _send(self) -> str:
        """What Serve does with the choice, up to sending the call."""
        pending: Any = SimpleNamespace(routing_context=SimpleNamespace(should_backoff=False))
        ranks = await self._router.choose_replicas(list(self._router.curr_replicas.values()), pending)
        assert pending.routing_context.should_backoff  # else Serve's loop would not let anything else run
        for candidates in ranks:
            replica = await self._router._select_from_candidate_replicas(candidates, 0)
            if replica is not None:
                self._router.on_send_request(replica.replica_id)
                return str(replica.replica_id.unique_id)
        return "."


@pytest.fixture
def calls_to() -> Iterator[Callable[[str], Calls]]:
    """Makes a router for the replicas with these names."""
    with asyncio.Runner() as runner:
        yield partial(Calls, runner)


def _id(name: str) -> ReplicaID:
    return ReplicaID(name, EXTRACTOR)


def test_calls_are_spread_until_all_are_full(calls_to: Callable[[str], Calls]) -> None:
    """And no replica is asked for its queue."""
    assert sorted(calls_to("ab").send(2 * MAX_ONGOING + 1)) == [".", *"aaabbb"]


def test_what_is_told_late_changes_nothing(calls_to: Callable[[str], Calls]) -> None:
    """The calls that it counts have ended since."""
    calls = calls_to("ab")
    for name in calls.send(4):
        calls.end(name)
        calls.take(name, told=2)
    assert sorted(calls.send(2 * MAX_ONGOING + 1)) == [".", *"aaabbb"]


def test_a_replica_that_is_full_now_is_used_again_when_it_has_room(calls_to: Callable[[str], Calls]) -> None:
    """It took its last call; that is no refusal."""
    calls = calls_to("a")
    for told, name in enumerate(calls.send(MAX_ONGOING), start=1):
        calls.take(name, told=told)
    calls.end("a")
    assert calls.send(2) == "a."


def test_a_replica_that_refused_is_asked_before_it_is_sent_another(
    calls_to: Callable[[str], Calls], clock: Clock
) -> None:
    """Other processes have filled it: frames are not sent in vain, again and again."""
    calls = calls_to("a")
    calls.refuse(calls.send(1))
    calls.replicas["a"].answers = [MAX_ONGOING, MAX_ONGOING - 1]
    assert calls.send(1) == "."
    assert len(calls.replicas["a"].answers) == 2  # not even asked yet
    clock.now_s += 1
    assert calls.send(2) == ".."
    clock.now_s += 1
    assert calls.send(2) == "a."
    calls.take("a", told=MAX_ONGOING)
    assert calls.send(1) == "a"


def test_a_replica_out_of_reach_does_not_attract_calls(calls_to: Callable[[str], Calls], clock: Clock) -> None:
    """They end at once, so its queue is the shortest; it is asked now and then, and dropped if it is dead."""
    calls = calls_to("ab")
    lost = calls.send(1)
    calls.do_not_reach(lost)
    assert lost not in calls.send(2)
    clock.now_s += 1
    calls.replicas[lost].answers = [ActorDiedError()]
    assert calls.send(1) == "."
    assert lost not in calls.send(1)
