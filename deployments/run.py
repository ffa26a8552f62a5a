"""``serve run`` that SIGTERM ends as Ctrl-C does: replicas are stopped in good order, and leave nothing behind."""

import signal
import sys

import ray
from ray.serve.scripts import cli


def main() -> None:
    """Run the config that is the program's argument until a signal comes."""
    ray.init(namespace="serve")  # here, for it sets a SIGTERM handler of its own, which kills the replicas
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell is born ignoring it
    cli(["run", *sys.argv[1:]])


if __name__ == "__main__":
    main()
