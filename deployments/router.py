"""Which extractor takes the next call."""

import math
import time
from collections import Counter

from ray.serve.experimental.round_robin_router import RoundRobinRouter
from ray.serve.request_router import PendingRequest, ReplicaID, RunningReplica

_ASK_EVERY_S = 0.05
_FORGET_EVERY_S = 1.0  # what was chosen for a call and never sent, for the call was cancelled


class ShortestQueueRouter(RoundRobinRouter):
    """Each call joins the shortest queue; of equal ones, the next in turn. While all are full, calls wait.

    The queues are those that this process knows of: a replica tells its own with every call, and each call sent or
    ended since is counted. So no replica is asked, but for one at a time while all are full, for another process may
    have filled them; Serve's own asks every full one, again and again, for each call that waits.
    """

    def initialize_state(self, **_: object) -> None:
        """Serve calls this once, before anything else."""
        self._chosen = Counter[ReplicaID]()  # many calls choose before the first of them is sent
        self._forgot_s = self._asked_s = -math.inf

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        """Take note of the replicas there are; a new one is idle until it says otherwise."""
        new = [replica.replica_id for replica in replicas if replica.replica_id not in self.curr_replicas]
        super().update_replicas(replicas)
        for replica_id in new:
            self.replica_queue_len_cache.update(replica_id, 0)

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """Name the one replica to try; none while there is nothing to do but to wait."""
        in_turn = [replica for [replica] in await super().choose_replicas(candidate_replicas, pending_request)]
        if not in_turn:
            return []
        now_s = time.monotonic()
        if now_s > self._forgot_s + _FORGET_EVERY_S:
            self._chosen.clear()
            self._forgot_s = now_s
        shortest = min(in_turn, key=self._queue)
        if self._queue(shortest) < shortest.max_ongoing_requests:
            self._chosen[shortest.replica_id] += 1
        elif now_s > self._asked_s + _ASK_EVERY_S:
            self._asked_s = now_s  # Serve asks whom it takes for full
        else:
            return []
        return [[shortest]]

    def on_send_request(self, replica_id: ReplicaID) -> None:
        """Count a call that is sent."""
        self._chosen[replica_id] = max(self._chosen[replica_id] - 1, 0)
        super().on_send_request(replica_id)

    def _queue(self, replica: RunningReplica) -> int:
        known = self.replica_queue_len_cache.get(replica.replica_id)
        if known is None:  # the last call did not reach it: only where no other is nearly free
            known = replica.max_ongoing_requests - 1
        return known + self._chosen[replica.replica_id]
