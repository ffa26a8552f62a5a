"""Which extractor takes the next call: ``serve_app.queues`` as Serve's request router."""

from typing import Any

from ray.serve.request_router import FIFOMixin, PendingRequest, ReplicaID, RequestRouter, RunningReplica

from serve_app.queues import Queues


class ShortestQueueRouter(FIFOMixin, RequestRouter):
    """Each call joins the shortest queue, as this process counts them. While all are full, calls wait.

    What replicas tell of their queues is not used: what is read after the calls that it counts have ended would count
    them for good.
    """

    max_num_routing_tasks_cap = 8  # look for room, each for the call that waits longest; Serve's 50 find no more

    def initialize_state(self, **_: object) -> None:
        """Serve calls this once, before anything else."""
        self._queues = Queues[ReplicaID]()

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """Name the one replica to take the call; none while there is nothing to do but to wait."""
        if pending_request is not None:
            pending_request.routing_context.should_backoff = True  # else Serve asks again without a pause
        limits = {replica.replica_id: replica.max_ongoing_requests for replica in candidate_replicas}
        chosen = self._queues.choose(limits)
        if chosen is None:
            return []
        self.replica_queue_len_cache.update(chosen, self._queues.length(chosen))  # else Serve may ask the replica
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
        """Avoid a replica that is full: others have filled it, and it refused the call, or took it as its last."""
        super().on_new_queue_len_info(replica_id, num_ongoing_requests)
        replica = self.curr_replicas.get(replica_id)
        if replica is not None and num_ongoing_requests >= replica.max_ongoing_requests:
            self._queues.avoid(replica_id)

    def on_request_routed(self, pending_request: PendingRequest, replica_id: ReplicaID, result: Any) -> None:
        """Do not avoid it if it took the call; Serve tells this after what it had to tell of its queue."""
        super().on_request_routed(pending_request, replica_id, result)
        self._queues.took(replica_id)

    def on_replica_actor_unavailable(self, replica_id: ReplicaID) -> None:
        """Avoid a replica that a call did not reach; calls to it fail at once, so its queue is always short."""
        super().on_replica_actor_unavailable(replica_id)
        self._queues.avoid(replica_id)
