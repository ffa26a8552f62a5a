"""ShortestQueueRouter on real replicas: after calls of all kinds, it still knows which of them are idle."""

# No `from __future__ import annotations`: Serve reads the annotations of what is bound.
import asyncio
import random
import time
from typing import Any

import pytest
from ray import serve

from deployments.router import ROUTING

N_REPLICAS = 4
N_CALLERS = 14  # two more than the replicas take at a time
N_LOADS = 8
LOAD_S = 1.5
PAUSE_S = 1.0  # a replica chosen for a call that was given up counts as busy for half of it
AS_IN_THE_CONFIGS = {
    "RAY_SERVE_USE_GRPC_BY_DEFAULT": "1",
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
}


@serve.deployment(
    num_replicas=N_REPLICAS,
    max_ongoing_requests=3,
    ray_actor_options={"num_cpus": 0},
    request_router_config=ROUTING,
)
class Sleeper:
    """Sleeps, and says which replica it is."""

    async def sleep(self, seconds: float) -> str:
        await asyncio.sleep(seconds)
        return serve.get_replica_context().replica_tag


@serve.deployment(ray_actor_options={"num_cpus": 0, "runtime_env": {"env_vars": AS_IN_THE_CONFIGS}})
class Caller:
    """Calls sleepers as the ingress calls extractors."""

    def __init__(self, sleeper: Any) -> None:
        self._sleeper = sleeper

    async def load(self, seconds: float) -> int:
        """Many overlapping calls, every fourth of which is given up; how many ended."""
        ends_at = asyncio.get_running_loop().time() + seconds
        return sum(await asyncio.gather(*(self._call_until(ends_at, random.Random(seed)) for seed in range(N_CALLERS))))

    async def spread(self, n_calls: int) -> list[str]:
        """The replicas that take calls made at once."""
        return list(await asyncio.gather(*(self._sleeper.sleep.remote(0.5) for _ in range(n_calls))))

    async def _call_until(self, ends_at: float, chance: random.Random) -> int:
        ended = 0
        while asyncio.get_running_loop().time() < ends_at:
            response = self._sleeper.sleep.remote(chance.uniform(0.0, 0.2))
            if chance.random() < 0.25:
                await asyncio.sleep(chance.uniform(0.0, 0.05))
                response.cancel()
            else:
                await response
                ended += 1
        return ended


@pytest.mark.usefixtures("service")
def test_after_a_load_each_idle_replica_takes_one_of_the_calls() -> None:
    """A count that drifts would leave out the replicas that it takes for busy."""
    caller = serve.run(Caller.bind(Sleeper.bind()), name="routing", route_prefix=None)  # type: ignore[attr-defined]
    try:
        for _ in range(N_LOADS):
            assert caller.load.remote(LOAD_S).result() > N_CALLERS
            time.sleep(PAUSE_S)
            assert len(set(caller.spread.remote(N_REPLICAS).result())) == N_REPLICAS
    finally:
        serve.delete("routing")
