"""``serve run`` that SIGTERM ends as Ctrl-C does, and a deployment that cannot start ends with status 1."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Event, Thread
from types import FrameType
from typing import Any

import ray
import yaml
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.schema import ApplicationStatusOverview, HTTPOptionsSchema
from ray.serve.scripts import cli

from deployments.config import check_config
from serve_app.errors import SetupError

_POLL_S = 2.0
_EXIT_INTERRUPTED = 130  # 128 and the signal's number, as shells have it


def main() -> None:
    """Run the config that is the program's argument until a signal comes."""
    deploy = yaml.safe_load(Path(sys.argv[1]).read_text())
    try:
        check_config(deploy)
        _run(_url(deploy))
    except SetupError as exc:
        sys.exit(f"error: {exc}")
    except KeyboardInterrupt:  # Ray is starting; later, Serve's command takes it
        sys.exit(_EXIT_INTERRUPTED)


def _url(deploy: Mapping[str, Any]) -> str:
    """Where the service will answer: its lone ingress, or Serve's proxies."""
    ingress = (deploy["applications"][0].get("args") or {}).get("ingress") or {}
    address = HTTPOptionsSchema.model_validate(ingress.get("listen") or deploy.get("http_options") or {})
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{'https' if address.ssl_certfile else 'http'}://{host}:{address.port}"


def _run(url: str) -> None:
    # Here, for it sets a SIGTERM handler of its own, which kills the replicas. The dashboard's ten processes would take
    # a quarter of a GB; a Ray that was started by itself has it.
    ray.init(namespace="serve", include_dashboard=False)
    stopped = Event()

    def stop(signal_number: int, frame: FrameType | None) -> None:
        stopped.set()
        signal.default_int_handler(signal_number, frame)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)  # a background job of a shell is born ignoring it
    failures: list[str] = []
    ended = Event()
    Thread(target=_watch_start, args=(url, failures, ended), daemon=True).start()
    try:
        cli(["run", *sys.argv[1:]])
    except SystemExit as exc:
        if not stopped.is_set():
            exc.code = exc.code or 1  # what Serve refuses it says, and ends with 0
        elif exc.code:
            exc.code = _EXIT_INTERRUPTED  # while it was starting
        raise
    finally:
        ended.set()  # to be asked for its status without a Ray, Serve would start one
        if failures:
            sys.exit("\n".join(failures))  # on stderr, and with status 1


def _watch_start(url: str, failures: list[str], ended: Event) -> None:
    """Say when the service is ready, or interrupt the main thread if a deployment fails to start.

    ``serve run`` itself says neither, and would stay to serve nothing.
    """
    began, statuses = time.time(), set[str]()
    while statuses != {"RUNNING"} and not ended.wait(_POLL_S):
        with contextlib.suppress(RayError, RayServeException):  # the controller is starting, restarts, or ends
            there = serve.status().applications.values()  # on a cluster also those of before
            applications = [application for application in there if application.last_deployed_time_s >= began]
            statuses = {application.status for application in applications}
        if "DEPLOY_FAILED" in statuses:
            failures += [line for application in applications for line in _failures(application)]
            os.kill(os.getpid(), signal.SIGINT)
            return
    if statuses == {"RUNNING"}:
        sys.stderr.write(f"the service answers at {url}\n")


def _failures(application: ApplicationStatusOverview) -> Iterator[str]:
    """Say of each deployment why it does not start, or why the graph could not be built: the error's own last line."""
    deployments = application.deployments.items()
    messages = {name: deployment.message for name, deployment in deployments if deployment.status == "DEPLOY_FAILED"}
    if application.status == "DEPLOY_FAILED":
        for name, message in (messages or {"the application": application.message}).items():
            *_, reason = ["for no reason that Serve knows", *message.strip().splitlines()]
            yield f"{name} cannot start: {reason}"


if __name__ == "__main__":
    main()
