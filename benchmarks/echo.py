"""An application of two deployments that do nothing: what is left is the cost of a call between them."""

# No `from __future__ import annotations`: Serve reads build_app's annotation to validate `args:`.
import os
import time
from typing import Any

from ray import serve
from ray.serve import Application
from ray.serve.handle import DeploymentHandle
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from deployments.router import ROUTING

N_PARTS = 30  # as a request has frames
_N_WARMING = 20


class Replica:
    """Takes bytes, and does nothing with them."""

    async def take(self, parts: list[bytes]) -> int:
        """Count what came."""
        return len(parts)

    async def cpu_s(self) -> float:
        """Say what this process has used until now, in seconds."""
        return time.process_time()


class Caller:
    """Calls it, one call after the other."""

    def __init__(self, replica: DeploymentHandle[Any]) -> None:
        self._replica = replica

    async def __call__(self, request: Request) -> Response:
        """``GET /calls?n_calls=N&n_bytes=B``: seconds and CPU seconds of a call; any other path: that it runs."""
        if request.url.path != "/calls":
            return JSONResponse({"status": "ready"})
        n_calls, n_bytes = int(request.query_params["n_calls"]), int(request.query_params["n_bytes"])
        parts = [os.urandom(n_bytes // N_PARTS) for _ in range(N_PARTS)]
        for _ in range(_N_WARMING):
            await self._replica.take.remote(parts)
        replica_cpu_s = await self._replica.cpu_s.remote()
        caller_cpu_s, began = time.process_time(), time.perf_counter()
        for _ in range(n_calls):
            await self._replica.take.remote(parts)
        call_s, caller_cpu_s = time.perf_counter() - began, time.process_time() - caller_cpu_s
        replica_cpu_s = await self._replica.cpu_s.remote() - replica_cpu_s
        used = {"call_s": call_s, "caller_cpu_s": caller_cpu_s, "replica_cpu_s": replica_cpu_s}
        return JSONResponse({name: seconds / n_calls for name, seconds in used.items()})


def build_app(_: dict[str, object]) -> Application:
    """Compose the two."""
    replica = serve.deployment(name="Replica", request_router_config=ROUTING, max_ongoing_requests=16)(Replica)
    return serve.deployment(name="Caller")(Caller).bind(replica.bind())
