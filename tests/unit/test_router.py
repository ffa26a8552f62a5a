"""ShortestQueueRouter: what Serve tells it of calls and replicas, in the order in which Serve does."""

import asyncio
from types import SimpleNamespace
from typing import Any

from ray.serve._private.common import DeploymentHandleSource, DeploymentID, ReplicaID

from deployments.router import ShortestQueueRouter

EXTRACTOR = DeploymentID(name="Extractor", app_name="deepfake")
MAX_ONGOING = 3


class Calls:
    """Calls that Serve sends through a router to the replicas ``a``, ``b``, ..."""

    def __init__(self, names: str) -> None:
        self._router = ShortestQueueRouter(  # type: ignore[no-untyped-call]  # Serve's constructor
            EXTRACTOR, DeploymentHandleSource.REPLICA, use_replica_queue_len_cache=True
        )
        self._router.initialize_state()
        asyncio.run(self._update(names))

    def send(self, n_calls: int) -> str:
        """The replicas that take the calls; a dot for one that has to wait."""
        return "".join(asyncio.run(self._send()) for _ in range(n_calls))

    def take(self, name: str, *, told: int) -> None:
        """The replica took a call, and has so many."""
        self._router.on_new_queue_len_info(_id(name), told)
        self._router.on_request_routed(SimpleNamespace(), _id(name), None)  # type: ignore[arg-type]

    def end(self, name: str) -> None:
        """A call ended."""
        self._router.on_request_completed(_id(name), "a call")

    def refuse(self, name: str) -> None:
        """The replica is full, and did not take a call."""
        self._router.on_new_queue_len_info(_id(name), MAX_ONGOING)
        self.end(name)

    def do_not_reach(self, name: str) -> None:
        """The replica does not answer."""
        self._router.on_replica_actor_unavailable(_id(name))
        self.end(name)

    async def _update(self, names: str) -> None:
        self._router.update_replicas([_replica(name) for name in names])

    async def _send(self) -> str:
        for ranks in await self._router.choose_replicas(list(self._router.curr_replicas.values())):
            replica = await self._router._select_from_candidate_replicas(ranks, 0)  # Serve's next step
            assert replica is not None
            self._router.on_send_request(replica.replica_id)
            return replica.replica_id.unique_id
        return "."


def _replica(name: str) -> Any:
    return SimpleNamespace(replica_id=_id(name), max_ongoing_requests=MAX_ONGOING, get_queue_len=_never_answer)


async def _never_answer(*, deadline_s: float) -> int:
    await asyncio.sleep(10 * deadline_s)
    raise AssertionError("no call waits for this")


def _id(name: str) -> ReplicaID:
    return ReplicaID(name, EXTRACTOR)


def test_calls_are_spread_until_all_are_full() -> None:
    """And no replica is asked for its queue."""
    assert sorted(Calls("ab").send(2 * MAX_ONGOING + 1)) == [".", *"aaabbb"]


def test_what_is_told_late_changes_nothing() -> None:
    """The calls that it counts have ended since."""
    calls = Calls("ab")
    for name in calls.send(4):
        calls.end(name)
        calls.take(name, told=2)
    assert sorted(calls.send(2 * MAX_ONGOING + 1)) == [".", *"aaabbb"]


def test_a_replica_that_is_full_now_is_used_again_when_it_has_room() -> None:
    """It took its last call; that is no refusal."""
    calls = Calls("a")
    for told, name in enumerate(calls.send(MAX_ONGOING), start=1):
        calls.take(name, told=told)
    calls.end("a")
    assert calls.send(2) == "a."


def test_a_replica_that_refused_is_avoided() -> None:
    """Other processes have filled it."""
    calls = Calls("ab")
    refusing = calls.send(1)
    calls.refuse(refusing)
    assert refusing not in calls.send(MAX_ONGOING)


def test_a_replica_out_of_reach_is_avoided() -> None:
    """Else it would be sent all calls: they end at once."""
    calls = Calls("ab")
    lost = calls.send(1)
    calls.do_not_reach(lost)
    assert lost not in calls.send(MAX_ONGOING)
