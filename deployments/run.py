"""``serve run`` that SIGTERM ends as Ctrl-C does: replicas are stopped in good order, and leave nothing behind."""

import signal
import sys

import ray
from ray.serve.scripts import cli


def main() -> None:
    """Run the config that is the program's argument until a signal comes."""
    # Here, for it sets a SIGTERM handler of its own, which kills the replicas. The dashboard's ten processes would take
    # a quarter of a GB; a Ray that was started by itself has it.
    ray.init(namespace="serve", include_dashboard=False)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell is born ignoring it
    cli(["run", *sys.argv[1:]])


if __name__ == "__main__":
    main()
