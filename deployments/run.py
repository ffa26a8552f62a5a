"""``serve run`` that SIGTERM ends as Ctrl-C does, and a deployment that cannot start ends with status 1."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from threading import Event, Thread

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.schema import ApplicationStatusOverview
from ray.serve.scripts import cli

_POLL_S = 2.0


def main() -> None:
    """Run the config that is the program's argument until a signal comes."""
    # Here, for it sets a SIGTERM handler of its own, which kills the replicas. The dashboard's ten processes would take
    # a quarter of a GB; a Ray that was started by itself has it.
    ray.init(namespace="serve", include_dashboard=False)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell is born ignoring it
    failures: list[str] = []
    ended = Event()
    Thread(target=_watch_start, args=(failures, ended), daemon=True).start()
    try:
        cli(["run", *sys.argv[1:]])
    finally:
        ended.set()  # to be asked for its status without a Ray, Serve would start one
        if failures:
            sys.exit("\n".join(failures))  # on stderr, and with status 1


def _watch_start(failures: list[str], ended: Event) -> None:
    """Interrupt the main thread if a deployment fails to start: ``serve run`` itself would stay, and serve nothing."""
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
