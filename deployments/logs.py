"""Where the application's log goes inside a replica: Serve's own files and console, in Serve's own format."""

import logging


def log_through_serve() -> None:
    """Hand every record of ours to Serve's handlers; to be called in a deployment's constructor."""
    serve_logger = logging.getLogger("ray.serve")
    for name in ("serve_app", "deployments"):
        logger = logging.getLogger(name)
        logger.handlers = serve_logger.handlers
        logger.setLevel(serve_logger.level)
        logger.propagate = False
