"""Which replica takes the next call: ``serve_app.queues`` as Serve's request router."""

from typing import Any

from ray.serve.config import RequestRouterConfig
from ray.serve.request_router import FIFOMixin, PendingRequest, ReplicaID, RequestRouter, RunningReplica

from serve_app.queues import Queues


class ShortestQueueRouter(FIFOMixin, RequestRouter):
    """Each call joins the shortest queue, as it is counted here. While all are full, calls wait.

    What replicas tell of their queues is used for those in doubt only: what is read after the calls that it counts have
    ended would count them for good.
    """

    max_num_routing_tasks_cap = 8  # look for room, each for the call that waits longest; Serve's 50 find no more

    def initialize_state(self, **_: object) -> None:
        """Serve calls this once, before anything else."""
        self._queues = Queues[ReplicaID]()

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        """Take note of the replicas there are."""
        super().update_replicas(replicas)
        self._queues.keep(set(self.curr_replicas))

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """Name the one replica to take the call; none while there is nothing to do but to wait.

        Serve sends the call to it if its cache says that the replica has room, and asks the replica if not.
        """
        if pending_request is not None:
            pending_request.routing_context.should_backoff = True  # else Serve comes back without a pause
        limits = {replica.replica_id: replica.max_ongoing_requests for replica in candidate_replicas}
        chosen = self._queues.choose(limits)
        if chosen is None:
            return []
        if self._queues.is_in_doubt(chosen):
            self.replica_queue_len_cache.invalidate_key(chosen)
        else:
            self.replica_queue_len_cache.update(chosen, self._queues.length(chosen))
        return [[replica for replica in candidate_replicas if replica.replica_id == chosen]]

    def on_send_request(self, replica_id: ReplicaID) -> None:
        """Count a call that is sent."""
        super().on_send_request(replica_id)
        self._queues.sent(replica_id)

    def on_request_completed(self, replica_id: ReplicaID, internal_request_id: str) -> None:
        """Count a call that ended."""
        super().on_request_completed(replica_id, internal_request_id)
        self._queues.ended(replica_id)

    def on_new_queue_len_info(self, replica_id: ReplicaID, num_ongoing_requests: int) -> None:
        """Doubt a replica that answers until Serve says that it took the call: others may have filled it."""
        super().on_new_queue_len_info(replica_id, num_ongoing_requests)
        self._queues.doubt(replica_id)

    def on_request_routed(self, pending_request: PendingRequest, replica_id: ReplicaID, result: Any) -> None:
        """Trust a replica that took the call; Serve tells this right after the last."""
        super().on_request_routed(pending_request, replica_id, result)
        self._queues.trust(replica_id)

    def on_replica_actor_unavailable(self, replica_id: ReplicaID) -> None:
        """Doubt a replica that was not reached: where calls fail at once, the queue is always short."""
        super().on_replica_actor_unavailable(replica_id)
        self._queues.doubt(replica_id)


_OPTIONS: dict[str, Any] = {
    "request_router_class": ShortestQueueRouter,
    "initial_backoff_s": 0.005,  # while all are full; an extractor has its next calls at hand meanwhile
    "backoff_multiplier": 1.5,
    "max_backoff_s": 0.05,
}
ROUTING = RequestRouterConfig(**_OPTIONS)
"""How the ingress's calls find their replica."""
