"""Where a session's CSVs are kept: ``OUTPUT_DIR/<session_id>/frame_0000.csv`` and so on."""

import contextlib
import re
import shutil
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from serve_app.errors import InvalidField

_PUBLISH_ATTEMPTS = 20
_SESSION_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def check_session_id(session_id: str) -> str:
    """Return the id, which becomes a folder's name, or refuse it.

    Raises:
        InvalidField: it is anything but 1 to 64 letters, digits, '_' and '-'.
    """
    if not _SESSION_ID.fullmatch(session_id):
        raise InvalidField("session_id must be 1 to 64 letters, digits, '_' or '-'")
    return session_id


def new_session_id() -> str:
    """Make an id for a request that brought none."""
    return f"session_{uuid.uuid4().hex}"


@dataclass(frozen=True)
class SessionStore:
    """The folders of kept sessions below ``output_dir``."""

    output_dir: Path

    def keep(self, session_id: str, csvs: Mapping[str, bytes]) -> Path:
        """Write the CSVs, in place of any the session held before; a reader never sees a mixture.

        Raises:
            OSError: the folder cannot be written.
        """
        self.output_dir.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{session_id}.", dir=self.output_dir))
        try:
            for name, csv in csvs.items():
                (staging / name).write_bytes(csv)
            staging.chmod(0o755)  # mkdtemp's 0700 would hide the CSVs from the other users of the volume
            folder = self.output_dir / session_id
            _publish(staging, folder)
            return folder
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _publish(staging: Path, folder: Path) -> None:
    """Put a folder in another's place; of several at once, the last one stays.

    rename does not replace a folder that holds files, so the old one is first moved aside.
    """
    replaced = staging.with_name(f"{staging.name}.old")
    for attempts_left in reversed(range(_PUBLISH_ATTEMPTS)):
        with contextlib.suppress(FileNotFoundError):
            folder.rename(replaced)
        _remove(replaced)
        try:
            staging.rename(folder)
        except OSError:  # another request with this session_id was faster
            if not attempts_left:
                raise
        else:
            return


def _remove(path: Path) -> None:
    """Remove a folder, or what somebody put in its place: rmtree leaves files and links, and says nothing of it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
