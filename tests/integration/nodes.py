"""A Ray cluster of several nodes on this machine, in a process that no other cluster shares."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

from ray.cluster_utils import Cluster

_TIMEOUT_S = 60.0
_cluster = Cluster()  # nothing runs before the first node is added, in the process of `nodes` only


class Nodes:
    """What may be done to the cluster, and asked of it."""

    def __init__(self, process: ProcessPoolExecutor) -> None:
        self._process = process

    def add(self, *, num_cpus: int, num_gpus: int = 0, role: str) -> str:
        """Add a node that is labelled with its role; return its id. The first one is the head."""
        return self._process.submit(_add, num_cpus, num_gpus, role).result(_TIMEOUT_S)

    def lose(self, node_id: str) -> None:
        """Kill the node's raylet, which takes its workers with it, without a word to Ray or Serve."""
        self._process.submit(_lose, node_id).result(_TIMEOUT_S)

    def address(self) -> str:
        """Return what a driver connects to."""
        return self._process.submit(_address).result(_TIMEOUT_S)

    def places(self, deployment: str) -> list[str]:
        """Return the ids of the nodes that living replicas of the deployment are on, one for each replica."""
        return self._process.submit(_places, deployment).result(_TIMEOUT_S)


@contextmanager
def nodes() -> Iterator[Nodes]:
    """Yield a cluster without a node; end what was added at the end."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        try:
            yield Nodes(process)
        finally:
            process.submit(_cluster_shutdown).result(_TIMEOUT_S)


def _add(num_cpus: int, num_gpus: int, role: str) -> str:
    node = _cluster.add_node(
        num_cpus=num_cpus,
        num_gpus=num_gpus,
        labels={"role": role},
        include_dashboard=False,
    )
    return str(node.node_id)


def _lose(node_id: str) -> None:
    [node] = [node for node in _cluster.worker_nodes if node.node_id == node_id]
    _cluster.remove_node(node, allow_graceful=False)


def _address() -> str:
    return str(_cluster.address)


def _places(deployment: str) -> list[str]:
    actors = _cluster.global_state.actor_table(None, actor_state_name="ALIVE").values()
    return [actor["Address"]["NodeID"] for actor in actors if f"#{deployment}#" in actor["Name"]]


def _cluster_shutdown() -> None:
    _cluster.shutdown()  # type: ignore[no-untyped-call]  # Ray says no more of it
