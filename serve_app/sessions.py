"""Where a session's CSVs are kept: ``OUTPUT_DIR/<session_id>/frame_0000.csv`` and so on."""

import re
import shutil
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from serve_app.errors import InvalidField

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
        """Write the CSVs, in place of any the session held before; a reader sees the old set or the new one.

        Raises:
            OSError: the folder cannot be written.
        """
        self.output_dir.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{session_id}.", dir=self.output_dir))
        try:
            for name, csv in csvs.items():
                (staging / name).write_bytes(csv)
            staging.chmod(0o755)  # mkdtemp's 0700 would hide the CSVs from the other users of the volume
            return self._publish(staging, self.output_dir / session_id)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _publish(self, staging: Path, folder: Path) -> Path:
        """Swap the folders by renames; rename cannot replace a folder that holds files."""
        replaced = staging.with_name(f"{staging.name}.old")
        try:
            if folder.exists():
                folder.rename(replaced)
            staging.rename(folder)
        finally:
            shutil.rmtree(replaced, ignore_errors=True)
        return folder
