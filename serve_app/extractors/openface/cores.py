"""Cores of this machine: each extractor replica takes one for itself as long as there are free ones."""

import logging
import os
from pathlib import Path

from serve_app.extractors.openface.folders import locked, try_lock

logger = logging.getLogger(__name__)


class CoreClaim:
    """A core that no other replica on this machine takes, until it is released or its process ends."""

    def __init__(self, core: int, lock_file: Path, descriptor: int) -> None:
        self.core = core
        self._lock_file = lock_file
        self._descriptor = descriptor

    def release(self) -> None:
        """Give it back; once more does nothing."""
        if self._descriptor >= 0:
            with locked(self._lock_file.parent):
                self._lock_file.unlink(missing_ok=True)
                os.close(self._descriptor)
            self._descriptor = -1


def claim_core(temp_dir: Path) -> CoreClaim | None:
    """Claim the first free core that this process may run on; None where there is none, or cores cannot be chosen."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    with locked(temp_dir):
        for core in sorted(os.sched_getaffinity(0)):
            lock_file = temp_dir / f"core-{core}.lock"
            descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT, 0o600)
            if try_lock(descriptor):
                return CoreClaim(core, lock_file, descriptor)
            os.close(descriptor)
    logger.warning("every core has its extractor: this replica shares them; run at most one replica per core")
    return None
