"""Where the application's log goes inside a replica: Serve's own files and console, in Serve's own format."""

import logging


def log_through_serve() -> None:
    """Hand every ``serve_app`` record to Serve's handlers; to be called in a deployment's constructor."""
    serve_logger = logging.getLogger("ray.serve")
    application_logger = logging.getLogger("serve_app")
    application_logger.handlers = serve_logger.handlers
    application_logger.setLevel(serve_logger.level)
    application_logger.propagate = False
