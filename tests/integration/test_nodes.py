"""Several nodes: replicas away from the ingress, a node lost under load, another one in its place."""

import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import requests
import yaml

from serve_app.addresses import free_port
from serve_app.launcher import running_service
from serve_app.settings import PRETRAINED_DIR, LaunchSettings
from tests.integration.conftest import CONFIGS, START_TIMEOUT_S, RunningService
from tests.integration.nodes import Nodes, nodes

REPLICAS = {"Ingress": 1, "Predictor": 1, "Extractor": 2, "CsvParser": 2}
AWAY = ("Extractor", "CsvParser")  # on nodes of their own, one of each to a node
N_CLIENTS = 3
RECOVERY_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class SpreadService:
    """The service, the nodes that it is spread over, and which of them the ingress is on."""

    service: RunningService
    nodes: Nodes
    head: str


@dataclass(frozen=True)
class Exchange:
    """A request's time on the wire, and its answer."""

    began: float
    ended: float
    response: requests.Response


def spread(config: Path) -> dict[str, Any]:
    """The production config in fixed numbers, with the stages in ``AWAY`` bound to the nodes that are for them."""
    deploy: dict[str, Any] = yaml.safe_load(config.read_text())
    deploy["proxy_location"] = "HeadOnly"  # the nodes share this machine's ports
    for deployment in deploy["applications"][0]["deployments"]:
        name, options = deployment["name"], deployment["ray_actor_options"]
        del deployment["autoscaling_config"]
        deployment["num_replicas"] = REPLICAS[name]
        options["label_selector"] = {"role": "extraction" if name in AWAY else "front"}
        if name in AWAY:
            deployment["max_replicas_per_node"] = 1
    return deploy


@pytest.fixture(scope="module")
def spread_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SpreadService]:
    """A head for the ingress and the predictor, and two nodes for extraction."""
    folder = tmp_path_factory.mktemp("nodes")
    config = folder / "spread.yaml"
    config.write_text(yaml.safe_dump(spread(CONFIGS / "prod.yaml")))
    launch = LaunchSettings(host="127.0.0.1", port=free_port())
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OUTPUT_DIR", str(folder / "output"))
        environment.setenv("MODELS_DIR", str(PRETRAINED_DIR))  # not what the other service's tests make of theirs
        environment.setenv("RAY_AUTH_MODE", "token")
        environment.setenv("RAY_AUTH_TOKEN", secrets.token_hex(16))
        with nodes() as cluster:
            head = cluster.add(num_cpus=1, num_gpus=1, role="front")
            for _ in range(REPLICAS["Extractor"]):
                cluster.add(num_cpus=2, role="extraction")
            with running_service(
                config,
                launch,
                log=folder / "log",
                start_timeout_s=START_TIMEOUT_S,
                ray_address=cluster.address(),
            ) as url:
                _await(lambda: all(len(cluster.places(name)) == n for name, n in REPLICAS.items()))
                service = RunningService(url, folder / "log", folder / "output", PRETRAINED_DIR)
                yield SpreadService(service, cluster, head)


def test_extractors_on_other_nodes_than_the_ingress_answer_it(
    spread_service: SpreadService, frames: list[bytes]
) -> None:
    """Frames go out as bytes and CSVs come back as bytes: no stage needs another's disk."""
    places = {name: spread_service.nodes.places(name) for name in REPLICAS}
    assert places["Ingress"] == places["Predictor"] == [spread_service.head]
    assert len(set(places["Extractor"]) - {spread_service.head}) == 2
    assert set(places["CsvParser"]) == set(places["Extractor"])
    assert spread_service.service.post(*frames).json()["status"] == "success"


def test_a_lost_node_costs_no_request(spread_service: SpreadService, frames: list[bytes]) -> None:
    """Those in flight are answered whole, the node that is left goes on, and a new one takes the lost one's place."""
    service, cluster = spread_service.service, spread_service.nodes
    lost = cluster.places("Extractor")[0]
    with _load(service, frames) as exchanges:
        _await(lambda: len(exchanges) >= N_CLIENTS)
        lost_at = time.monotonic()
        cluster.lose(lost)
        _await(lambda: sum(exchange.began > lost_at for exchange in exchanges) >= N_CLIENTS)
    assert any(exchange.began < lost_at < exchange.ended for exchange in exchanges)
    assert [exchange.response.status_code for exchange in exchanges] == [200] * len(exchanges)
    for answer in (exchange.response.json() for exchange in exchanges):
        assert answer["status"] in {"success", "partial"}
        assert [frame["frame_id"] for frame in answer["predictions"]] == list(range(30))
        assert all(frame["prediction"] or frame["error"] for frame in answer["predictions"])

    cluster.add(num_cpus=2, role="extraction")
    _await(lambda: len(set(cluster.places("Extractor")) - {lost}) == 2)
    assert service.post(*frames).json()["status"] == "success"


@contextmanager
def _load(service: RunningService, frames: list[bytes]) -> Iterator[list[Exchange]]:
    """Keep ``N_CLIENTS`` posting, one request after the other; yield what has been answered so far."""
    exchanges: list[Exchange] = []
    enough = Event()

    def post_on() -> None:
        while not enough.is_set():
            began = time.monotonic()
            response = service.post(*frames)
            exchanges.append(Exchange(began, time.monotonic(), response))

    with ThreadPoolExecutor(N_CLIENTS) as threads:
        clients = [threads.submit(post_on) for _ in range(N_CLIENTS)]
        try:
            yield exchanges
        finally:
            enough.set()
    for client in clients:
        client.result()


def _await(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + RECOVERY_TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "the cluster did not come to the state awaited"
        time.sleep(0.2)
