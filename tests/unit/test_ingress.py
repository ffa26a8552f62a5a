"""What the Ingress asks Serve; the rest of it is ``serve_app.http`` and ``deployments.remote``."""

import asyncio
from types import SimpleNamespace

import pytest
from ray import serve

from deployments.ingress import _cluster_status
from serve_app.errors import Overloaded


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, SimpleNamespace]:
    """What Serve tells of this application's deployments."""
    deployments: dict[str, SimpleNamespace] = {}
    status = SimpleNamespace(applications={"deepfake": SimpleNamespace(deployments=deployments)})
    monkeypatch.setattr(serve, "get_replica_context", lambda: SimpleNamespace(app_name="deepfake"))
    monkeypatch.setattr(serve, "status", lambda: status)
    return deployments


def test_replicas_that_requests_reach_are_counted(told: dict[str, SimpleNamespace]) -> None:
    """Those on a node that is being drained, too; not those that start or stop."""
    states = {"RUNNING": 2, "STARTING": 3, "STOPPING": 1, "PENDING_MIGRATION": 1}
    told["Extractor"] = SimpleNamespace(replica_states=states)
    assert asyncio.run(_cluster_status()).replicas == {"Extractor": 3}


def test_a_deploy_that_failed_tells_nothing_new(told: dict[str, SimpleNamespace]) -> None:
    """Serve then tells of no deployment, while those of before answer: that nothing runs would be untrue."""
    assert not told
    with pytest.raises(Overloaded, match="deploy that failed"):
        asyncio.run(_cluster_status())
