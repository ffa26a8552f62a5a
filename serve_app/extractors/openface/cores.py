"""Cores of this machine: each extractor replica takes one for itself as long as there are free ones."""

import logging
import os
import socket
from contextlib import suppress

logger = logging.getLogger(__name__)

_NAME = "\0deepfake-serve-openface-core-{core}"  # \0: in Linux's abstract namespace, which is in no file system


class CoreClaim:
    """A core that no other replica here takes, until it is released or its process ends, however it does."""

    def __init__(self, core: int, name: socket.socket) -> None:
        self.core = core
        self._name = name

    def release(self) -> None:
        """Give it back; once more does nothing."""
        self._name.close()


def claim_core() -> CoreClaim | None:
    """Claim the first free core that this process may run on; None where there is none, or cores cannot be chosen.

    A name that is bound is a claim which no one can take away: files in TEMP_DIR are removed by those who clean up. It
    holds within a network namespace: containers do not see each other's claims, so give each of them its own cores.
    """
    if not hasattr(os, "sched_setaffinity"):
        return None
    for core in sorted(os.sched_getaffinity(0)):
        name = socket.socket(socket.AF_UNIX)
        with suppress(OSError):  # it is bound already
            name.bind(_NAME.format(core=core))
            return CoreClaim(core, name)
        name.close()
    logger.warning("every core has its extractor: this replica shares them; run at most one replica per core")
    return None
