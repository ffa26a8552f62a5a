"""ShortestQueueRouter: who takes the next call, by what this process knows of the replicas' queues."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from ray.serve._private.common import DeploymentHandleSource, DeploymentID, ReplicaID

from deployments.router import ShortestQueueRouter

EXTRACTOR = DeploymentID(name="Extractor", app_name="deepfake")
MAX_ONGOING = 3


class Clock:
    """A monotonic clock that stands until it is set."""

    now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("deployments.router.time", clock)
    return clock


def replica(name: str) -> Any:
    return SimpleNamespace(
        replica_id=id_of(name),
        max_ongoing_requests=MAX_ONGOING,
        multiplexed_model_ids=(),
        get_queue_len=never_answer,
    )


def id_of(name: str) -> ReplicaID:
    return ReplicaID(name, EXTRACTOR)


async def never_answer(*, deadline_s: float) -> int:
    await asyncio.sleep(10 * deadline_s)
    raise AssertionError("the router does not wait for this")


def router_of(names: str, **queues: int) -> ShortestQueueRouter:
    """A router that was told of these replicas, and by some of them how long their queue is."""
    router = ShortestQueueRouter(  # type: ignore[no-untyped-call]  # Serve's constructor
        EXTRACTOR, DeploymentHandleSource.REPLICA, use_replica_queue_len_cache=True
    )
    router.initialize_state()

    async def tell() -> None:
        router.update_replicas([replica(name) for name in names])

    asyncio.run(tell())
    for name, length in queues.items():
        router.on_new_queue_len_info(id_of(name), length)
    return router


def choose(router: ShortestQueueRouter, n_calls: int) -> str:
    """The replicas that calls are sent to which choose at the same time; a dot for one that has to wait."""
    candidates = list(router.curr_replicas.values())

    async def choose_for_all() -> str:
        return "".join([name_of(await router.choose_replicas(candidates)) for _ in range(n_calls)])

    chosen = asyncio.run(choose_for_all())
    for name in chosen.replace(".", ""):
        router.on_send_request(id_of(name))
    return chosen


def name_of(ranks: Any) -> str:
    return "".join(entry.replica_id.unique_id for [entry] in ranks) or "."


def test_idle_replicas_take_calls_in_turn() -> None:
    """None takes two while another has none; whose turn is first is left to chance."""
    chosen = choose(router_of("abcd"), 8)
    assert sorted(chosen[:4]) == sorted(chosen[4:]) == list("abcd")


def test_the_turn_goes_on_from_one_request_to_the_next() -> None:
    """Calls that end at once are not all sent to the same replica."""
    router = router_of("abc")
    chosen = ""
    for _ in range(3):
        chosen += choose(router, 1)
        router.decrement_queue_len_cache(id_of(chosen[-1]))
    assert sorted(chosen) == list("abc")


def test_a_call_joins_the_shortest_queue() -> None:
    """Also when several choose before one is sent."""
    assert sorted(choose(router_of("abc", a=2, b=0, c=1), 3)) == ["b", "b", "c"]


def test_a_call_that_ended_makes_room() -> None:
    """Without anyone being asked."""
    router = router_of("ab", a=MAX_ONGOING, b=MAX_ONGOING)
    router.decrement_queue_len_cache(id_of("b"))
    assert choose(router, 1) == "b"


def test_while_all_are_full_one_is_asked_at_a_time(clock: Clock) -> None:
    """However many calls wait; the next one is asked a moment later."""
    router = router_of("ab", a=MAX_ONGOING, b=MAX_ONGOING)
    first = choose(router, 5)
    clock.now_s += 0.06
    later = choose(router, 5)
    assert {first, later} == {"a....", "b...."}


def test_a_choice_that_was_never_sent_is_forgotten(clock: Clock) -> None:
    """Its call was cancelled; else the replica would seem to be full for good."""
    router = router_of("a")
    [candidate] = router.curr_replicas.values()
    for _ in range(MAX_ONGOING):
        asyncio.run(router.choose_replicas([candidate]))
    assert choose(router, 2)[-1] == "."
    clock.now_s += 2
    assert choose(router, 2) == "aa"


def test_a_replica_that_was_out_of_reach_comes_last() -> None:
    """Serve forgets its queue, and asks it before it sends a call there again."""
    router = router_of("ab", a=0)
    router.on_replica_actor_unavailable(id_of("b"))
    assert choose(router, 2) == "aa"


def test_without_replicas_nobody_is_chosen() -> None:
    """Serve waits for some."""
    assert choose(router_of(""), 1) == "."
