"""Addresses of this machine: bound, or found free."""

import socket

from serve_app.errors import SetupError
from serve_app.settings import ListenSettings


def listening_socket(address: ListenSettings) -> socket.socket:
    """Bind a socket to an address, which no other program can then share.

    Raises:
        SetupError: the address is taken, or is not this machine's.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of one that was killed linger a minute
    try:
        listener.bind((address.host, address.port))
    except OSError as exc:
        listener.close()
        raise SetupError(f"cannot listen on {address.host}:{address.port}: {exc.strerror}; set HOST or PORT") from exc
    return listener


def free_port() -> int:
    """Find a port of the loopback address that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
